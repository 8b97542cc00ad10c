"""What ``cancel``, ``retry``, ``erase`` and ``append`` are asked and know of a job, alike in every store."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from forebay.domain.change import Lookup, Reply
from forebay.domain.content import Segment
from forebay.domain.job import Ending, Status

#: What an erasure deletes: requests, answers, and sentences that may quote them.
CONTENT = (
    "delete.bodies",
    "delete.results",
    "delete.chunks",
    "change.drop_content_refs",
    "change.drop_segments",
    "change.drop_words",
    "change.drop_reasons",
)


class Named(NamedTuple):
    """Jobs of a tenant."""

    tenant: str
    job_ids: Sequence[str]


class Rewriting(NamedTuple):
    """Which segment, and the blob that it shall have."""

    job_id: str
    segment: Segment
    blob_id: str


class Appending(NamedTuple):
    """Chunks for a job's stream, under its lease. ``first``: the number of the first one, if the caller knows it."""

    job_id: str
    fence: int
    texts: Sequence[str]
    first: int | None


class Look(NamedTuple):
    """A row of ``change.look``."""

    id: str
    status: str
    ending: str | None
    is_group: bool
    is_running: bool
    parent_id: str
    is_collected: bool
    parent_status: str | None
    parent_ending: str | None
    fixed: str
    parent_deadline: float | None
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None

    @property
    def is_counted(self) -> bool:
        """Whether the parent still counts its children: live, and not asked to end."""
        return (
            self.parent_status is not None and not Status(self.parent_status).is_terminal and self.parent_ending is None
        )


def replies_of(looks: Mapping[str, Look], job_ids: Sequence[str], lookups: Sequence[Lookup]) -> list[Reply]:
    """The state after the verb, for each id asked; ``lookups`` are those of jobs that exist."""
    replies: list[Reply] = []
    for job_id, lookup in zip(job_ids, lookups, strict=True):
        look = looks.get(job_id)
        if look is None:
            replies.append(Reply(id=job_id, lookup=Lookup.NOT_FOUND))
            continue
        status = Status.RUNNING if look.is_running and look.status == Status.QUEUED else Status(look.status)
        ending = None if look.ending is None else Ending(look.ending)
        replies.append(Reply(id=job_id, lookup=lookup, status=status, ending=ending))
    return replies
