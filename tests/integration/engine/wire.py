"""An engine whose targets speak real HTTP to a server that misbehaves; only the retries' time is fake."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from forebay.domain.job import Job, Status
from forebay.domain.target import Limits, TargetSpec, TargetType
from forebay.engine.worker import WorkerProcess
from forebay.targets.build import build_targets
from forebay.targets.clients import DEFAULT_LIBRARY, HttpLibrary
from forebay.testing.clock import FakeClock
from forebay.testing.faulty_server import Behaviour, FaultyServer
from forebay.testing.history import read_history, violations
from forebay.testing.system import open_services
from forebay.testing.wire_faults import echoes

from .conftest import Engine

KEY = "sk-very-secret"
PROMPT = "the private prompt"
STEP_SECONDS = 120.0
MOST_STEPS = 2_000
LONGEST_MESSAGE = 400
ENDPOINTS = {
    TargetType.OPENAI: "/v1/chat/completions",
    TargetType.ANTHROPIC: "/v1/messages",
    TargetType.HTTP: "/v1/chat/completions",
}


@dataclass
class Wired:
    """The engine, its one worker, and a server for each target."""

    engine: Engine
    worker: WorkerProcess
    servers: dict[str, FaultyServer]
    types: dict[str, TargetType]

    @property
    def server(self) -> FaultyServer:
        [server] = self.servers.values()
        return server

    async def submit(self, target: str = "t", **fields: Any) -> str:
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 9,
            "stream": fields.get("is_stream", False),
        }
        fields = {"timeout_seconds": 20.0, "max_attempts": 2, **fields}
        endpoint = ENDPOINTS[self.types[target]]
        return await self.engine.submit(
            target=target, endpoint=endpoint, body=msgspec.json.encode(body).decode(), **fields
        )

    async def ended(self, *job_ids: str) -> list[Job]:
        """Runs the worker, and lets fake time pass, until the jobs have ended."""
        for _ in range(MOST_STEPS):
            await self.worker.run_until_idle()
            jobs = [await self.engine.get(job_id) for job_id in job_ids]
            if all(job.is_terminal for job in jobs):
                return jobs
            self.engine.clock.advance(STEP_SECONDS)
        raise AssertionError(f"never ended: {[job.id for job in jobs if not job.is_terminal]}")

    async def is_well(self, *job_ids: str) -> None:
        """Nothing of a fault is left: calls equal the ledger, no slot is taken, and a healthy job is served at once."""
        for target in self.servers:
            self.servers[target].behave()
            healthy = await self.submit(target, timeout_seconds=60.0)
            [job] = await self.ended(healthy)
            assert (job.status, len(job.attempts), echoed(job)) == (Status.SUCCEEDED, 1, True)
        assert {lane.in_flight for lane in self.worker.lanes.by_name.values()} == {0}
        assert self.worker._slots.busy == 0
        services = self.engine.services
        history = await read_history(services.jobs, services.blobs)
        assert violations(history, accepted=job_ids) == []


@asynccontextmanager
async def wired(
    folder: Path,
    types: dict[str, TargetType],
    *,
    well: Behaviour | None = None,
    library: HttpLibrary = DEFAULT_LIBRARY,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Wired]:
    """An engine with a target and a server for each name."""
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(FaultyServer(well or echoes(), tls=tls)) for name in types}
        specs = [
            spec_of(name, kind, servers[name].origin.replace("127.0.0.1", host) + "/v1") for name, kind in types.items()
        ]
        targets = await stack.enter_async_context(build_targets(specs, prices=lambda *_: None, library=library))
        clock = FakeClock()
        services = await stack.enter_async_context(open_services(folder, targets.values(), specs=specs, clock=clock))
        engine = Engine(services, clock)
        yield Wired(engine, await engine.worker(), servers, types)


def spec_of(name: str, kind: TargetType, address: str, *, concurrency: int = 8) -> TargetSpec:
    is_service = kind is TargetType.HTTP
    return TargetSpec(
        name=name,
        type=kind,
        url=address if is_service else None,
        base_url=None if is_service else address,
        api_key=KEY,
        models=("m",),
        limits=Limits(concurrency=concurrency),
    )


def echoed(job: Job) -> bool:
    """Whether the job has the answer that was made for it, and not another's."""
    assert job.result is not None
    return f"echo {job.id}" in (job.result.body.text or "")


def is_plain(message: str | None) -> bool:
    """Whether it is one sentence for people, without a secret."""
    if not message or len(message) > LONGEST_MESSAGE or "\n" in message:
        return False
    return not any(hidden in message for hidden in (KEY, PROMPT, "Traceback", "object at 0x"))
