"""What a reader asks of the store: which jobs, in what order, with which parts."""

from forebay.domain.job import Status
from forebay.domain.record import Record

ROOTS_ONLY = ""


class Parts(Record, frozen=True, kw_only=True):
    """What to load beside a job's row; each costs a further lookup."""

    body: bool = False
    result: bool = False
    attempts: bool = False
    segments: bool = False


ROW = Parts()


class JobQuery(Record, frozen=True, kw_only=True):
    """Jobs of a tenant, newest first (or oldest, by ``is_ascending``: then children come in the order of their keys).

    ``parent_id``: ``ROOTS_ONLY`` for top-level jobs, an id for a group's children, None for both.
    ``after`` is the id of the last job of the page before. ``is_collected`` False: children not yet taken over.
    """

    tenant: str | None  # None: every tenant (maintenance alone)
    parent_id: str | None = ROOTS_ONLY
    statuses: frozenset[Status] = frozenset()  # empty: all
    kinds: frozenset[str] = frozenset()
    without_kinds: frozenset[str] = frozenset()
    target: str | None = None
    model: str | None = None
    code: str | None = None  # of the error
    origin: str | None = None
    key: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    metadata: dict[str, str] = {}
    is_collected: bool | None = None
    after: str | None = None
    limit: int = 20
    is_ascending: bool = False
    parts: Parts = Parts()
