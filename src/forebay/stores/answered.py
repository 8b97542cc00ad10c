"""What the verb ``apply`` decides, alike in every store: of a job's state and its answer."""

from typing import NamedTuple

from forebay.domain.change import Change
from forebay.domain.job import Ending, JobError, Status
from forebay.stores.ends import end_of
from forebay.stores.rows import Row


class State(NamedTuple):
    """What the store knows of a leased job that is answered."""

    claimed_at: float
    ending: Ending | None
    is_group: bool
    has_notices: bool
    has_result: bool


def state_of(row: Row) -> State:
    """From a row of ``apply.states``, behind its place."""
    claimed_at, ending, is_group, notices, has_result = row[1:]
    return State(claimed_at, None if ending is None else Ending(ending), bool(is_group), notices > 0, bool(has_result))


def decide(change: Change, state: State) -> tuple[Status, JobError | None]:
    """The status after the change, and the error with it, under the row's ending."""
    if state.ending is not None:
        if change.status.is_terminal and state.is_group:
            return end_of(state.ending)
        if change.status is Status.QUEUED and not state.is_group:
            return end_of(state.ending)
    return change.status, change.error
