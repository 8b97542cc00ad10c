"""World: an opened store under a clock that stands still, and the few steps that every conformance test is made of."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from msgspec import json
from msgspec.structs import replace

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.change import Added, Change, Claimed, Recovered, Verdict, Want, Worker
from forebay.domain.content import Content
from forebay.domain.ids import IdSource
from forebay.domain.job import Job, JobError, Join, Notice, Result, Status
from forebay.domain.query import ROW, JobQuery, Parts
from forebay.ports import Clock, JobStore, LimitStore, RecordStore
from forebay.testing.clock import FakeClock

QUEUE = "target:mill"
LANE = "mill"
LEASE_SECONDS = 30.0
DAY = 86_400.0
SOME_ERROR = JobError(code="target_rejected", message="The target said no")
TELL = Notice(kind="notify", queue="notify:ops", args='{"url": "https://example.org"}')


class OpenedStore(Protocol):
    """What a back end's factory returns: its three ports, opened."""

    @property
    def jobs(self) -> JobStore: ...

    @property
    def records(self) -> RecordStore: ...

    @property
    def limits(self) -> LimitStore: ...

    async def close(self) -> None: ...


OpenStore = Callable[[Clock], Awaitable[OpenedStore]]


@asynccontextmanager
async def opened(open_store: OpenStore) -> AsyncIterator["World"]:
    """A World on a newly opened store, closed at the end."""
    clock = FakeClock()
    world = World(open_store, await open_store(clock), clock)
    try:
        yield world
    finally:
        await world.close()


class World:
    """One store, one clock, and workers by name whose epochs it remembers."""

    def __init__(self, open_store: OpenStore, store: OpenedStore, clock: FakeClock) -> None:
        self.clock = clock
        self.ids = IdSource(clock.now)
        self._open_store = open_store
        self._stores = [store]
        self._epochs: dict[str, int] = {}

    @property
    def jobs(self) -> JobStore:
        return self._stores[0].jobs

    @property
    def records(self) -> RecordStore:
        return self._stores[0].records

    @property
    def limits(self) -> LimitStore:
        return self._stores[0].limits

    async def close(self) -> None:
        while self._stores:
            await self._stores.pop().close()

    async def reopen(self) -> None:
        """Closes the store and opens it again where it was, as a restarted process does."""
        await self.close()
        self._stores = [await self._open_store(self.clock)]

    async def second(self) -> OpenedStore:
        """Opens the same store once more beside the first, as another process does."""
        self._stores.append(await self._open_store(self.clock))
        return self._stores[-1]

    def make(self, **fields: object) -> Job:
        """A leaf job of the lane, a day to live; ``fields`` differ."""
        now = self.clock.now()
        job = Job(
            id=self.ids.new("job"),
            kind="infer",
            queue=QUEUE,
            created_at=now,
            due_at=now,
            deadline=now + DAY,
            tokens=100,
            body=Content(text='{"prompt": "hello"}'),
        )
        return replace(job, **fields)

    def make_group(self, **fields: object) -> Job:
        """A job that will wait for children, on a queue of its own."""
        return self.make(**{"kind": "batch", "queue": "control", "is_group": True, "body": None, **fields})

    async def add(self, **fields: object) -> Job:
        """Adds a leaf; it must be new."""
        return await self.put(self.make(**fields))

    async def put(self, job: Job) -> Job:
        [added] = await self.jobs.add([job])
        assert added == Added(id=job.id, is_new=True, status=added.status, fingerprint=job.fingerprint)
        return job

    async def worker(self, name: str = "worker-1") -> Worker:
        """The worker, registered and alive; anew, if its leases were taken away."""
        worker = self.known(name)
        renewal = await self.jobs.renew(worker)
        if not renewal.is_alive:
            self._epochs[name] = renewal.epoch
            worker = self.known(name)
            renewal = await self.jobs.renew(worker)
        assert renewal.is_alive
        return worker

    def known(self, name: str = "worker-1") -> Worker:
        """The worker as it was last seen alive: a zombie, if its leases were taken away since."""
        return Worker(
            id=name, epoch=self._epochs.get(name, 0), host="nowhere", queues=(QUEUE,), lease_seconds=LEASE_SECONDS
        )

    async def claim(
        self, name: str = "worker-1", *, queue: str = QUEUE, slots: int = 10, cap: int | None = None
    ) -> list[Claimed]:
        lane = LANE if queue == QUEUE else queue
        return await self.jobs.claim(await self.worker(name), [Want(queue=queue, lane=lane, slots=slots, cap=cap)])

    async def claim_alone(self, name: str = "worker-1", *, queue: str = QUEUE) -> list[Claimed]:
        want = Want(queue=queue, lane=LANE, slots=10)
        return await self.jobs.claim(await self.worker(name), [want], is_alone=True)

    async def take(self, name: str = "worker-1", *, queue: str = QUEUE) -> Claimed:
        """Claims the one job that is next."""
        [claimed] = await self.claim(name, queue=queue, slots=1)
        return claimed

    async def take_of_nothing(self) -> Claimed:
        """A lease of a job that was never added."""
        await self.worker()
        return Claimed(job=self.make(), fence=1, lane=LANE)

    async def begin(self, claimed: Claimed, **fields: object) -> Attempt:
        """Begins a call under the lease, as a handler does before it sends anything."""
        attempt = replace(self.attempt(claimed), **fields)
        assert await self.jobs.begin([attempt]) == [Verdict.APPLIED]
        return attempt

    def attempt(self, claimed: Claimed) -> Attempt:
        return Attempt(
            job_id=claimed.job.id,
            number=claimed.job.attempt_count + 1,
            fence=claimed.fence,
            target=LANE,
            model="m",
            started_at=self.clock.now(),
        )

    def completed(self, attempt: Attempt, outcome: Outcome = Outcome.SUCCEEDED, **fields: object) -> Attempt:
        """The attempt with its answer."""
        return replace(attempt, outcome=outcome, finished_at=self.clock.now(), **fields)

    def change(self, claimed: Claimed, status: Status = Status.SUCCEEDED, **fields: object) -> Change:
        """What an answer does; a terminal one brings a result or an error, ``queued`` is due at once."""
        change = Change(job_id=claimed.job.id, fence=claimed.fence, status=status, parent_id=claimed.job.parent_id)
        match status:
            case Status.SUCCEEDED:
                change = replace(change, result=result("ok"))
            case Status.FAILED:
                change = replace(change, error=SOME_ERROR)
            case Status.QUEUED:
                change = replace(change, due_at=self.clock.now())
            case Status.WAITING:
                change = replace(change, join=Join())
        return replace(change, **fields)

    async def answer(self, claimed: Claimed, status: Status = Status.SUCCEEDED, **fields: object) -> None:
        """Applies an answer under a good lease and settles, as a worker does."""
        assert await self.jobs.apply([self.change(claimed, status, **fields)]) == [Verdict.APPLIED]
        names = [claimed.job.id] if status == Status.WAITING else [claimed.job.parent_id]
        await self.jobs.settle([name for name in names if name])

    async def spawn(self, children: Sequence[Job], *, join: Join | None = None, **fields: object) -> Claimed:
        """A group that has claimed its handler, spawned the children and waits; ``children`` get its id and keys."""
        group = await self.put(self.make_group(**fields))
        claimed = await self.take(queue=group.queue)
        assert claimed.job.id == group.id
        await self.answer(claimed, Status.WAITING, children=self.under(group.id, children), join=join or Join())
        return claimed

    def under(self, parent_id: str, children: Sequence[Job]) -> tuple[Job, ...]:
        """The jobs as children: keys count up where they have none."""
        return tuple(replace(job, parent_id=parent_id, key=job.key or f"{n:04}") for n, job in enumerate(children))

    async def family(self, count: int, *, join: Join | None = None, **fields: object) -> tuple[str, list[Claimed]]:
        """A waiting group and its ``count`` children, all claimed, in the order of their keys."""
        group = await self.spawn([self.make() for _ in range(count)], join=join, **fields)
        claimed = await self.claim(slots=count)
        assert len(claimed) == count
        return group.job.id, sorted(claimed, key=lambda one: one.job.key)

    async def row(self, job_id: str, parts: Parts = ROW) -> Job:
        """The job, which must exist."""
        [job] = await self.jobs.get(None, [job_id], parts)
        assert job is not None
        return job

    async def status(self, job_id: str) -> Status:
        return (await self.row(job_id)).status

    async def ledger(self, job_id: str) -> tuple[Attempt, ...]:
        return (await self.row(job_id, Parts(attempts=True))).attempts

    async def children(self, parent_id: str, **fields: object) -> list[Job]:
        """A group's children by their keys."""
        query = JobQuery(tenant=None, parent_id=parent_id, limit=10_000, is_ascending=True)
        return await self.jobs.find(replace(query, **fields))

    async def notices(self, job_id: str) -> list[Job]:
        """The jobs of the outbox that tell of this job's end."""
        found = await self.jobs.find(JobQuery(tenant=None, limit=10_000, is_ascending=True))
        return [job for job in found if job.key.startswith(f"end:{job_id}:")]

    def args(self, job: Job) -> object:
        """A job's arguments as data."""
        return json.decode(job.spec.args or "null")

    async def recover(self) -> Recovered:
        """Sweeps until nothing is left; returns the sums."""
        rescued = expired = due = woken = 0
        for _ in range(1000):
            swept = await self.jobs.recover()
            rescued, expired = rescued + swept.rescued, expired + swept.expired
            due, woken = due + swept.due, woken + swept.woken
            if swept.is_complete:
                return replace(swept, rescued=rescued, expired=expired, due=due, woken=woken)
        raise AssertionError("recover never says that it is complete")

    async def lose_workers(self, *survivors: str) -> Recovered:
        """Every worker but the survivors dies, and its leases run out."""
        self.clock.advance(LEASE_SECONDS + 1)
        for name in survivors:
            await self.worker(name)
        return await self.recover()


def result(text: str) -> Result:
    """A model's answer."""
    return Result(status_code=200, body=Content(text=f'"{text}"'), request_id="req-1")
