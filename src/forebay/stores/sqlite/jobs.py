"""The JobStore over SQLite: each verb goes to the writer or to a reader; what it does stands in the verb's own file."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

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
from forebay.domain.query import ROW, JobQuery, Parts
from forebay.policy.vigil import Vigil
from forebay.ports import StoreFacts, Watch
from forebay.processes import IsGone
from forebay.stores.asked import Appending, Named, Rewriting
from forebay.stores.sqlite import asking, find, reads
from forebay.stores.sqlite.adding import add_calls
from forebay.stores.sqlite.answers import apply_calls, begin_calls
from forebay.stores.sqlite.backend import Backend
from forebay.stores.sqlite.claims import Asking, claim_calls
from forebay.stores.sqlite.joins import settle_calls
from forebay.stores.sqlite.pruning import Pruning, prune
from forebay.stores.sqlite.recover import Sweep
from forebay.stores.sqlite.transaction import Tx
from forebay.stores.sqlite.workers import renew, retire
from forebay.stores.sqlite.writer import Order

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class SqliteJobs:
    """See JobStore: conditions, atomicity and errors stand there."""

    def __init__(self, backend: Backend, is_gone: IsGone, vigil: Vigil | None = None) -> None:
        self._backend = backend
        self._sweep = Sweep(is_gone, vigil or Vigil())

    @property
    def facts(self) -> StoreFacts:
        return StoreFacts()

    async def add(self, jobs: Sequence[Job]) -> list[Added]:
        return await self._backend.write(Order.ADD, add_calls, jobs)

    async def claim(self, worker: Worker, wants: Sequence[Want], *, is_alone: bool = False) -> list[Claimed]:
        return await self._backend.write(Order.CLAIM, claim_calls, Asking(worker, wants, is_alone))

    async def begin(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        return await self._backend.write(Order.BEGIN, begin_calls, attempts)

    async def renew(self, worker: Worker) -> Renewal:
        return await self._one(renew, worker)

    async def retire(self, worker: Worker) -> int:
        return await self._one(retire, worker)

    async def apply(self, changes: Sequence[Change]) -> list[Verdict]:
        return await self._backend.write(Order.APPLY, apply_calls, changes)

    async def settle(self, job_ids: Collection[str]) -> list[str]:
        return await self._backend.write(Order.SETTLE, settle_calls, job_ids)

    async def cancel(self, tenant: str, job_ids: Sequence[str]) -> list[Reply]:
        return await self._one(asking.cancel, Named(tenant, job_ids))

    async def retry(self, tenant: str, job_ids: Sequence[str]) -> list[Reply]:
        return await self._one(asking.retry, Named(tenant, job_ids))

    async def erase(self, tenant: str, job_ids: Sequence[str]) -> list[Reply]:
        return await self._one(asking.erase, Named(tenant, job_ids))

    async def hasten(self, tenant: str, job_ids: Sequence[str]) -> list[str]:
        return await self._one(asking.hasten_waiting, Named(tenant, job_ids))

    async def rewrite(self, job_id: str, segment: Segment, blob_id: str) -> bool:
        return await self._one(asking.rewrite, Rewriting(job_id, segment, blob_id))

    async def recover(self, *, limit: int = 1000) -> Recovered:
        return await self._one(self._sweep.run, limit)

    async def prune(self, older_than: float, *, limit: int = 1000) -> Pruned:
        return await self._one(prune, Pruning(older_than, limit))

    async def get(self, tenant: str | None, job_ids: Sequence[str], parts: Parts = ROW) -> list[Job | None]:
        return await self._backend.read(
            lambda session: reads.get(session, tenant, job_ids, parts), is_snapshot=parts != ROW
        )

    async def find(self, query: JobQuery) -> list[Job]:
        return await self._backend.read(lambda session: find.find(session, query), is_snapshot=query.parts != ROW)

    async def tally(self, job_ids: Sequence[str]) -> list[Tally]:
        return await self._backend.read(lambda session: reads.tally(session, job_ids), is_snapshot=True)

    async def depths(self) -> list[Depth]:
        return await self._backend.read(reads.depths)

    async def backlog(self, tenant: str, ceiling: int) -> int:
        return await self._backend.read(lambda session: reads.backlog(session, tenant, ceiling))

    async def queues(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        return await self._backend.read(lambda session: reads.queues(session, prefix, after, limit))

    async def workers(self) -> list[Worker]:
        return await self._backend.read(reads.workers)

    async def now(self) -> float:
        return self._backend.clock.now()

    async def append(self, job_id: str, fence: int, texts: Sequence[str], *, first: int | None = None) -> Verdict:
        appending = Appending(job_id, fence, texts, first)
        return await self._backend.write(Order.APPEND, _each(asking.append), appending)

    async def read(self, job_id: str, after: int = -1, limit: int = 1000) -> list[Chunk]:
        return await self._backend.read(lambda session: reads.chunks(session, job_id, after, limit))

    async def segments(self, job_id: str, name: str, after: int = -1) -> list[Segment]:
        return await self._backend.read(lambda session: reads.segments(session, job_id, name, after))

    async def orphans(self, blob_ids: Sequence[str]) -> list[str]:
        return await self._backend.read(lambda session: reads.orphans(session, blob_ids))

    def watch(self, topics: Iterable[str] = ()) -> Watch:
        return self._backend.hub.watch(topics)

    async def _one(self, run: Callable[[Tx, Argument], Result], argument: Argument) -> Result:
        return await self._backend.write(Order.BARRIER, _each(run), argument)


def _each(run: Callable[[Tx, Argument], Result]) -> Callable[[Tx, Sequence[Argument]], list[Result]]:
    """A verb that is not merged: one call after the other."""
    return lambda tx, arguments: [run(tx, argument) for argument in arguments]
