"""Clients: what is asked of the system while it is being broken, and what they were told."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from forebay.domain.batch import BatchArgs
from forebay.domain.change import Lookup
from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Job, Notice, OnUnknown
from forebay.domain.order import Order
from forebay.domain.query import Parts
from forebay.engine.handlers.batch.creation import BatchOrder, make_batch
from forebay.engine.intake import make_job, store_bytes
from forebay.testing.simulation.world import ROUTE, World

CHAT = "/v1/chat/completions"
LAST_FENCE = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'leases'"
DEAD = """
SELECT id FROM jobs
WHERE status IN ('failed', 'cancelled') AND is_group = 0 AND kind = 'infer' AND notices = 0 ORDER BY id
"""
RESULT = Parts(result=True)
T = TypeVar("T")


class Clients:
    """A process of its own that never dies. ``accepted``: what was acknowledged; ``cancelled``: the last fence that had
    been given when the cancelling was acknowledged; ``lines``: what stands in each batch's input.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = random.Random(f"{world.plan.seed}:clients")
        self.process, self.services = world.open_process(lambda _: None)
        self.accepted: list[str] = []
        self.keyed: dict[str, str] = {}
        self.jobs: dict[str, Job] = {}
        self.retried: Counter[str] = Counter()
        self.cancelled: dict[str, int] = {}
        self.lines: dict[str, list[str]] = {}
        self.seen: dict[str, Job] = {}  # ended jobs as they were read, with their results
        self.poison: set[str] = set()
        self.broken: list[str] = []

    async def run(self) -> None:
        """Asks for all that the plan has, at random times; returns when everything was acknowledged."""
        plan, chance = self._world.plan, self._chance
        steps: list[Callable[[], Awaitable[None]]] = [self._add_some] * max(1, plan.jobs // 3)
        steps += [self._add_batch] * plan.batches
        steps += [self._look] * 4
        steps += [self._cancel_some] * chance.randint(0, 5)
        steps += [self._retry_some] * chance.randint(0, 4)
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(self._at(chance.uniform(0, plan.chaos_seconds), step))

    async def _at(self, delay: float, step: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(delay)
        await step()

    async def _add_some(self) -> None:
        jobs = [await self._job() for _ in range(self._chance.randint(1, 5))]
        await self._add(jobs)
        if self._chance.random() < 0.2:
            await self._add(jobs)  # a client that did not hear the answer

    async def _add(self, jobs: list[Job]) -> None:
        added = await self._until(lambda: self.services.jobs.add(jobs))
        for job, one in zip(jobs, added, strict=True):
            if job.key and self.keyed.setdefault(job.key, one.id) != one.id:
                self.broken.append(f"key {job.key} was given to {self.keyed[job.key]} and to {one.id}")
            if one.id == job.id and job.id not in self.jobs:
                self.jobs[job.id] = job
                self.accepted.append(job.id)
        self._world.say(f"accepted {' '.join(one.id for one in added)}")

    async def _job(self) -> Job:
        chance, now = self._chance, self.services.clock.now()
        text = self._text()
        order = Order(
            body=json.dumps({"model": chance.choice(("a-model", "b-model", ROUTE)), "messages": [{"content": text}]}),
            endpoint=CHAT,
            priority=chance.choice((0, 0, 0, 5)),
            not_before=now + chance.uniform(0, 4) if chance.random() < 0.1 else None,
            deadline=now + chance.uniform(1, 12) if chance.random() < 0.1 else None,
            timeout_seconds=chance.choice((3.0, 10.0, 30.0)),
            max_attempts=chance.choice((1, 2, 3, 5)),
            on_unknown=chance.choice((OnUnknown.RETRY, OnUnknown.RETRY, OnUnknown.HOLD)),
            is_stream=chance.random() < 0.1,
            key=f"key {chance.randrange(12)}" if chance.random() < 0.3 else "",
            on_end=(Notice(kind="told", queue="told:x", lifespan_seconds=9.0),) if chance.random() < 0.2 else (),
        )
        job = await self._until(lambda: make_job(order, self.services))
        if text.startswith("poison"):
            self.poison.add(job.id)
        return job

    async def _add_batch(self) -> None:
        chance = self._chance
        ids = [f"line {number}" for number in range(chance.randint(1, 14))]
        model = chance.choice(("a-model", "b-model", ROUTE))
        lines = [
            {"custom_id": name, "method": "POST", "url": CHAT, "body": {"model": model, "messages": [self._text()]}}
            for name in ids
        ]
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        content = await store_bytes(data, self.services.blobs)
        args = BatchArgs(
            input_file_id="file-1",
            input_blob_id=content.blob_id,
            endpoint=CHAT,
            max_attempts=chance.choice((1, 3)),
            timeout_seconds=chance.choice((3.0, 10.0)),
        )
        lifespan = chance.uniform(3, 15) if chance.random() < 0.15 else 86_400.0
        batch = await make_batch(BatchOrder(args=args, lifespan_seconds=lifespan), self.services)
        self.lines[batch.id] = ids
        await self._add([batch])

    async def _look(self) -> None:
        named = self._chance.sample(self.accepted, min(len(self.accepted), 8))
        for job in await self._until(lambda: self.services.jobs.get(None, named, RESULT)):
            if job is not None and job.is_terminal and not self.retried[job.id]:
                self.seen[job.id] = job

    async def _cancel_some(self) -> None:
        if not self.accepted:
            return
        named = self._chance.sample(self.accepted, min(len(self.accepted), self._chance.randint(1, 2)))
        replies = await self._until(lambda: self.services.jobs.cancel("default", named))
        [[fence]] = self._world.witness.rows(LAST_FENCE)
        for reply in replies:
            if reply.lookup is Lookup.DONE and not self.retried[reply.id]:
                self.cancelled[reply.id] = int(str(fence))
        self._world.say(f"cancelled {' '.join(named)}")

    async def _retry_some(self) -> None:
        rows = self._world.witness.rows(DEAD)
        if not rows:
            return
        named = [str(row[0]) for row in self._chance.sample(rows, min(len(rows), 3))]
        await self._until(lambda: self._retry(named))
        for name in named:  # a cancelling that was acknowledged meanwhile may have come first
            self.cancelled.pop(name, None)
        self._world.say(f"retried {' '.join(named)}")

    async def _retry(self, named: list[str]) -> None:
        # Before: it may be claimed as soon as it is committed. Each time: one whose reply is lost may be done.
        self.retried.update(named)
        await self.services.jobs.retry("default", named)

    def _text(self) -> str:
        """What a request says; the target reads of it only whether it is poison."""
        is_poison = self._chance.random() < self._world.plan.poison
        return "poison" if is_poison else f"hello {self._chance.randrange(1000)}"

    async def _until(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks again while the store is away, as every client does."""
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await asyncio.sleep(0.2)
