"""Splitting: what a function asks for that returns ``forebay.Spawn``, and the cursor of the job that waits for it."""

import msgspec

from forebay.domain.fanout import Cursor, FanoutArgs, OnFailure
from forebay.domain.order import Order
from forebay.domain.record import Record

SPAWN_LIMIT = "spawn_limit"  # the code of a job that split its task beyond the bounds
SPAWN_NAME_TAKEN = "spawn_name_taken"  # of one that named a child as one of an earlier round


class Part(Record, frozen=True, kw_only=True):
    """One child. ``is_named``: by the function, and not after its target. ``deadline_seconds``, ``not_before_seconds``:
    from now, where the order has none.
    """

    name: str
    is_named: bool = False
    order: Order
    deadline_seconds: float | None = None
    not_before_seconds: float | None = None


class Decomposition(Record, frozen=True, kw_only=True):
    """A ``forebay.Spawn``, read."""

    parts: tuple[Part, ...]
    successes: int | None = None
    on_failure: OnFailure = OnFailure.PARTIAL
    deadline_seconds: float | None = None


class SplitCursor(Record, frozen=True, kw_only=True):
    """``progress`` of a job that split its task. ``args``: of the present round, its branches by name alone;
    ``earlier``: the names of the rounds before.
    """

    version: int = 1
    args: FanoutArgs
    joined: Cursor = Cursor()
    earlier: tuple[str, ...] = ()
    until: float | None = None
    feedback: str | None = None  # of the validation, as the progress of other jobs

    @property
    def names(self) -> tuple[str, ...]:
        """All children's, in the order of their making."""
        return (*self.earlier, *(branch.name for branch in self.args.branches))


_CURSOR = msgspec.json.Decoder(SplitCursor)


def split_cursor(progress: str) -> SplitCursor:
    return _CURSOR.decode(progress)
