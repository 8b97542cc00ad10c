"""The ports to what is kept: jobs, records, limits, and the rows of a whole store. Bulk verbs reply with one item per
item asked, in order.

A job's row, children, outbox and references change atomically; nothing is promised across the items of one call. A
verb returns only after its commit is durable.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Protocol

from forebay.domain.archive import Part, Row
from forebay.domain.attempt import Attempt
from forebay.domain.change import (
    Added,
    Change,
    Claimed,
    Depth,
    Pruned,
    Recovered,
    Renewal,
    Reply,
    Tally,
    Verdict,
    Want,
    Worker,
)
from forebay.domain.content import Chunk, Segment
from forebay.domain.job import Job
from forebay.domain.lesson import Lesson
from forebay.domain.limit import Grant, Rate
from forebay.domain.query import ROW, JobQuery, Parts
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord


class Clock(Protocol):
    """Where time comes from: Unix seconds. The engine never asks the machine."""

    def now(self) -> float: ...


class StoreFacts(Record, frozen=True, kw_only=True):
    """What a back end declares of itself; nothing else may differ."""

    max_items_per_change: int | None = None  # children, collected and segments of one Change; None: no bound
    is_shared_between_machines: bool = False


class Watch(Protocol):
    """Hints of commits, by topic: ``ready:<queue>`` (something became claimable), ``job:<id>`` (it ended, or its
    stream grew).

    A hint may come without a cause and commits are coalesced; none is missed from the moment a topic was added,
    whichever process committed. Read the store after adding a topic, then wait.
    """

    def add(self, topics: Iterable[str]) -> None: ...

    def discard(self, topics: Iterable[str]) -> None: ...

    async def next(self, timeout_seconds: float | None = None) -> set[str]:
        """Returns the topics signalled since the last call, waiting for one at most so long; empty on time-out."""
        ...

    def close(self) -> None: ...


class JobStore(Protocol):
    """The durable record of all work. Times in lease and due decisions are the store's own clock.

    A verb that raises StoreUnavailable may be done all the same, where the reply to its commit was lost (a failover).
    Asking again does nothing twice: ``add`` goes by id and key, ``begin`` by number and fence, ``apply`` by the fence
    (``lease_lost`` may then be one's own first try). Leases of a ``claim`` that nobody heard of are handed back by the
    store itself.
    """

    @property
    def facts(self) -> StoreFacts: ...

    async def add(self, jobs: Sequence[Job]) -> list[Added]:
        """Adds jobs; one whose non-empty ``(tenant, parent_id, key)`` or whose id exists already is not added, in
        whatever state that one is.

        Each with its body, blob references and place in ``ready`` or (``due_at`` ahead) ``later``. Atomic per job. A
        child's deadline is cut to its parent's; a child of an ended parent, or of one with an ``ending``, is added as
        ended in that way.
        """
        ...

    async def claim(self, worker: Worker, wants: Sequence[Want], *, is_alone: bool = False) -> list[Claimed]:
        """Leases claimable jobs to the worker, by queue: awaited first, then priority, rank, id; each with its body.

        Never more than ``want.slots``, nor so many that the lane would have more than ``want.cap`` leases in the
        whole store. A job past its deadline is ended (``expired``) instead, unless it is a group, which is claimed
        with its ``ending``. Suspects are claimed with ``is_alone`` only, at most one, and only if the worker holds no
        lease. An ended epoch claims nothing.
        """
        ...

    async def begin(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        """Writes attempts as ``running`` before they are sent. ``lease_lost``: nothing was written, send nothing."""
        ...

    async def renew(self, worker: Worker) -> Renewal:
        """Registers the worker or renews its heartbeat, which keeps all its leases alive; may be called from any
        thread's loop.

        Names the held jobs that were asked to stop. ``is_alive`` False: the leases were taken away; the worker drops
        what it holds and renews again with the epoch of the reply. Idempotent.
        """
        ...

    async def retire(self, worker: Worker) -> int:
        """Hands back every lease of a worker that ends in good order, and forgets it. Uses no attempt and no rescue."""
        ...

    async def apply(self, changes: Sequence[Change]) -> list[Verdict]:
        """Writes what answers do, each atomically and fenced; ends the lease.

        - Attempts are completed even when the lease is lost (only from ``running`` or ``unknown``); nothing else
          changes then, not even the row's usage and cost.
        - A terminal status adds the notices, cancels live children, and keeps result and error. On a row with an
          ``ending``: a group ends as the ending says, with that result; a leaf that answers ``succeeded`` keeps its
          paid answer, and one that would be queued again ends as the ending says.
        - ``waiting`` adds the children (idempotent by key; on a row with an ``ending`` they are added as ended) and
          sets the join.
        - ``taking``: succeeded children named are deleted with their attempts, dead ones marked as collected; their
          number, usage and cost go into the parent's ``taken`` and sums, once; segments get the next numbers of their
          name. Settling parents is a call of its own: ``settle``.
        """
        ...

    async def settle(self, job_ids: Collection[str]) -> list[str]:
        """Wakes those of the named ``waiting`` jobs whose join is met; returns them. Idempotent; costs what the join
        asks, not the group.
        """
        ...

    async def cancel(self, tenant: str, job_ids: Sequence[str]) -> list[Reply]:
        """Asks jobs to end. A queued leaf ends at once; a running one is told by ``renew``; a group gets its
        ``ending``, its children are cancelled, its join becomes ``Join()``. An ended job stays as it is. Idempotent.
        Settles what it woke.
        """
        ...

    async def retry(self, tenant: str, job_ids: Sequence[str]) -> list[Reply]:
        """Queues dead jobs again with fresh attempts, an empty stream and a fresh deadline of the same length; a group
        with its ``progress`` and its dead children. Numbers of attempts go on. Under a live parent the job is live
        again for its join, no longer collected, and out of the parent's ``taken`` and sums. Its next end gives notice
        again.
        """
        ...

    async def erase(self, tenant: str, job_ids: Sequence[str]) -> list[Reply]:
        """Deletes body, result, stream, segments (but the ledger's), what errors say and blob references of ended jobs;
        of a run's jobs their arguments and progress too. The rows and their ledgers stay. ``not_dead`` for live ones.
        """
        ...

    async def hasten(self, tenant: str, job_ids: Sequence[str]) -> list[str]:
        """Makes queued jobs that wait for a time due now; returns them. All others stay as they are. Idempotent."""
        ...

    async def rewrite(self, job_id: str, segment: Segment, blob_id: str) -> bool:
        """Puts another blob in the segment's place, with its reference. False: another one is there already."""
        ...

    async def recover(self, *, limit: int = 1000) -> Recovered:
        """One bounded sweep, safe on every node at once: frees leases of dead workers (their running attempts become
        ``unknown``; suspects, ``on_unknown`` and poison as in the domain; a group's lease counts as a call begun, and
        its next ``waiting`` clears the count), moves due jobs to ``ready``, ends queued
        leaves past their deadline, sets the ``ending`` of groups past theirs, wakes joins that are met or whose
        ``until`` has come.
        """
        ...

    async def prune(self, older_than: float, *, limit: int = 1000) -> Pruned:
        """Deletes root jobs that ended before ``older_than`` with all that hangs on them, except those with an
        undelivered notice.
        """
        ...

    async def get(self, tenant: str | None, job_ids: Sequence[str], parts: Parts = ROW) -> list[Job | None]:
        """Reads jobs; None for those that don't exist or are another tenant's (None: any tenant)."""
        ...

    async def find(self, query: JobQuery) -> list[Job]:
        """Reads a page of jobs; without ``parts`` neither bodies nor results nor attempts."""
        ...

    async def tally(self, job_ids: Sequence[str]) -> list[Tally]:
        """Counts groups' children, taken-over ones included."""
        ...

    async def depths(self) -> list[Depth]:
        """Every queue that has jobs, for metrics and doctor."""
        ...

    async def backlog(self, tenant: str, ceiling: int) -> int:
        """Counts the tenant's top-level jobs that have not ended, without notices, and no further than the ceiling."""
        ...

    async def queues(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        """The queues below a prefix (``notify:``) that have something claimable, in the order of their names."""
        ...

    async def workers(self) -> list[Worker]:
        """The registered workers with their last heartbeats."""
        ...

    async def now(self) -> float:
        """The store's own clock, the same for every process on it."""
        ...

    async def append(self, job_id: str, fence: int, texts: Sequence[str], *, first: int | None = None) -> Verdict:
        """Adds chunks to the job's stream, fenced, numbered on, or from ``first`` on: then those that have their
        numbers already are left as they are, so that asking again adds nothing twice. Signals ``job:<id>``.
        """
        ...

    async def read(self, job_id: str, after: int = -1, limit: int = 1000) -> list[Chunk]:
        """Reads the stream's chunks with a number above ``after``."""
        ...

    async def segments(self, job_id: str, name: str, after: int = -1) -> list[Segment]:
        """Reads an output's segments in order."""
        ...

    async def orphans(self, blob_ids: Sequence[str]) -> list[str]:
        """Of these blobs, those that no row refers to."""
        ...

    def watch(self, topics: Iterable[str] = ()) -> Watch:
        """Subscribes to hints; see Watch. (The design's `wait`: a call could not be registered before its check.)"""
        ...


class RecordStore(Protocol):
    """Small records of what is not work."""

    async def put(self, record: StoredRecord) -> StoredRecord:
        """Stores it with the next version and its blob references, if ``record.version`` is the stored one (0:
        absent; an expired one is absent).

        Raises: VersionConflict: read it again; for version 0, the id exists.
        """
        ...

    async def get(self, tenant: str, kind: str, record_id: str) -> StoredRecord | None: ...

    async def list(
        self,
        tenant: str | None,
        kind: str,
        *,
        after: str | None = None,
        limit: int = 100,
        is_ascending: bool = True,
        match: dict[str, str] | None = None,
    ) -> list[StoredRecord]:
        """A page in the order of ids; ``match`` compares top-level string members of ``data``. ``tenant`` None: all,
        for kinds whose ids no two tenants share.
        """
        ...

    async def delete(self, tenant: str, kind: str, record_id: str) -> bool:
        """Deletes it with its blob references; False if there was none."""
        ...

    async def expire(self, *, limit: int = 1000) -> int:
        """Deletes records past ``expires_at``."""
        ...


class LimitStore(Protocol):
    """Limits that hold over all processes on one store: a GCRA number per rate, a sum per budget, and what workers
    tell each other of limits that they had to learn.
    """

    async def reserve(self, rate: Rate, amount: float, ahead_seconds: float = 0.0) -> Grant:
        """Takes up to ``amount`` of what is there and of what will come within ``ahead_seconds``, in part if need be.

        Who books ahead has a place in a row: many processes take turns, and none asks in vain.
        """
        ...

    async def give_back(self, rate: Rate, amount: float) -> None:
        """Returns what was reserved and not used (negative: more was used)."""
        ...

    async def charge(self, budget: str, amount_usd: float, ceiling_usd: float) -> bool:
        """Adds to a budget's sum if it stays within the ceiling; a negative amount corrects, always. True if added."""
        ...

    async def spent(self, budget: str) -> float: ...

    async def tell(self, lessons: Sequence[Lesson], lasting_seconds: float) -> None:
        """Keeps lessons for the other workers, each in place of its teller's last one, for so long; 0 ends them."""
        ...

    async def heard(self, targets: Sequence[str]) -> list[Lesson]:
        """What was told of these targets and still lasts, the caller's own lessons too; their pauses are shorter by
        the time that has passed.
        """
        ...


class Archive(Protocol):
    """All rows of one store, held against every other process while it is open; ``forebay.transfer`` moves them.

    A back end opens it by ``hold_archive(…, is_writing=…)``: all that was loaded is committed at the end of that block,
    or nothing of it.
    """

    def rows(self, part: Part) -> AsyncIterator[list[Row]]:
        """Every row of the part, in pages, in the order of its key by bytes."""
        ...

    def blob_ids(self) -> AsyncIterator[list[str]]:
        """Every blob that a row refers to, once, in pages, in order."""
        ...

    async def load(self, part: Part, rows: Sequence[Row]) -> Sequence[Row]:
        """Inserts the rows and returns them as they are kept: a database that can't keep U+0000 replaces it."""
        ...

    async def leased(self) -> int:
        """How many jobs are under a lease: no archive has them."""
        ...

    async def last_fence(self) -> int: ...

    async def raise_fence(self, fence: int) -> None:
        """The next lease's fence is above this one."""
        ...
