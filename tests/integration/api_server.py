"""A real server over a real store for the API's tests, and a hand that does the worker's part step by step."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import aiohttp

from forebay.api.server import serve
from forebay.app import System
from forebay.domain.attempt import Attempt, Outcome, Usage
from forebay.domain.change import Change, Claimed, Verdict, Want, Worker
from forebay.domain.content import Content
from forebay.domain.job import ErrorCode, JobError, Result, Status
from forebay.domain.pipeline import Pipeline
from forebay.domain.query import JobQuery
from forebay.domain.target import Route, RouteEntry, TargetSpec, TargetType
from forebay.domain.tenant import TenantSpec
from forebay.engine.services import Services
from forebay.engine.triggers.patterns import EventTriggers
from forebay.settings.records import Settings, StoreSettings
from forebay.testing.clock import FakeClock
from forebay.testing.notifiers import ScriptedNotifier
from forebay.testing.system import open_services, scripted_spec
from forebay.testing.targets import ScriptedTarget

CHAT = {"model": "gpt-model", "messages": [{"role": "user", "content": "hello"}]}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
)
MESSAGE_START = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-3", "stop_sequence": None}
MESSAGE_USAGE = {"input_tokens": 3, "output_tokens": 2}
MESSAGE = json.dumps(
    {
        **MESSAGE_START,
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "usage": MESSAGE_USAGE,
    }
)
PATIENCE_SECONDS = 120.0


class ChatTarget(ScriptedTarget):
    """Serves everything but Anthropic's messages, as an OpenAI-compatible server does."""

    def serves(self, endpoint: str) -> bool:
        return endpoint.startswith("/v1/") and endpoint != "/v1/messages" and "nowhere" not in endpoint


class MessagesTarget(ScriptedTarget):
    """Serves Anthropic's messages alone."""

    def serves(self, endpoint: str) -> bool:
        return endpoint == "/v1/messages"


SPECS = (
    TargetSpec(
        name="gpt",
        type=TargetType.OPENAI,
        base_url="https://user:secret@models.example/v1?key=secret",
        api_key="sk-secret",
        headers={"x-secret": "secret"},
        models=("gpt-model", "gpt-*"),
    ),
    TargetSpec(name="claude", type=TargetType.ANTHROPIC, api_key="sk-secret", models=("claude-3",)),
    scripted_spec("other"),
)
ROUTES = (Route(name="summariser", entries=(RouteEntry(target="gpt"), RouteEntry(target="other"))),)


class Hand:
    """A worker that does nothing by itself."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._worker = Worker(id=services.ids.new("worker"), queues=("target:gpt", "target:claude", "target:other"))
        self._watch = services.jobs.watch([f"ready:{queue}" for queue in self._worker.queues])

    async def open(self) -> None:
        renewal = await self._services.jobs.renew(self._worker)
        assert renewal.is_alive

    async def take(self) -> Claimed:
        """Claims one job, waiting until there is one, and begins its attempt."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                wants = [
                    Want(queue=queue, lane=queue.removeprefix("target:"), slots=1) for queue in self._worker.queues
                ]
                for want in wants:
                    if claimed := await self._services.jobs.claim(self._worker, [want]):
                        await self._begin(claimed[0])
                        return claimed[0]
                await self._watch.next(1.0)

    async def succeed(self, claimed: Claimed, body: str = ANSWER, status_code: int = 200) -> None:
        await self._end(
            claimed,
            Outcome.SUCCEEDED,
            status=Status.SUCCEEDED,
            result=Result(status_code=status_code, body=Content(text=body)),
            usage=Usage(input_tokens=3, output_tokens=2),
            cost_usd=0.5,
        )

    async def fail(
        self, claimed: Claimed, code: str = ErrorCode.TARGET_REJECTED, body: str | None = None, status_code: int = 400
    ) -> None:
        result = None if body is None else Result(status_code=status_code, body=Content(text=body))
        error = JobError(code=code, message="it did not work")
        await self._end(claimed, Outcome.REJECTED, status=Status.FAILED, result=result, error=error)

    async def say(self, claimed: Claimed, *texts: str) -> None:
        assert await self._services.jobs.append(claimed.job.id, claimed.fence, texts) is Verdict.APPLIED

    async def _begin(self, claimed: Claimed) -> None:
        attempt = self._attempt(claimed)
        assert await self._services.jobs.begin([attempt]) == [Verdict.APPLIED]

    async def _end(self, claimed: Claimed, outcome: Outcome, **fields: Any) -> None:
        attempt = self._attempt(claimed, outcome=outcome, finished_at=self._services.clock.now())
        change = Change(job_id=claimed.job.id, fence=claimed.fence, attempts=(attempt,), **fields)
        assert await self._services.jobs.apply([change]) == [Verdict.APPLIED]

    def _attempt(self, claimed: Claimed, **fields: Any) -> Attempt:
        return Attempt(
            job_id=claimed.job.id,
            number=claimed.job.attempt_count + 1,
            fence=claimed.fence,
            target=claimed.lane,
            model=claimed.job.spec.model,
            started_at=self._services.clock.now(),
            **fields,
        )

    def close(self) -> None:
        self._watch.close()


@dataclass
class Server:
    """A running server with what a test needs at hand."""

    url: str
    services: Services
    http: aiohttp.ClientSession
    hand: Hand
    serving: "asyncio.Task[None]"
    clock: FakeClock

    def system(self, settings: Settings) -> System:
        """Another server's system on the same store."""
        return System(settings=settings, services=self.services, store=cast("Any", None))

    async def submit(self, **fields: Any) -> dict[str, Any]:
        async with self.http.post("/v1/jobs", json={"body": CHAT, **fields}) as reply:
            assert reply.status == 202, await reply.text()
            return cast("dict[str, Any]", await reply.json())

    async def queued(self, count: int) -> list[str]:
        """Waits until so many jobs are queued; their ids, newest first."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(jobs := await self.services.jobs.find(JobQuery(tenant="default"))) < count:
                await asyncio.sleep(0.001)
        return [job.id for job in jobs]

    async def get(self, path: str, status: int = 200, **options: Any) -> Any:
        async with self.http.get(path, **options) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()

    async def post(self, path: str, status: int = 200, **options: Any) -> Any:
        async with self.http.post(path, **options) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()


@asynccontextmanager
async def running_server(
    folder: Path,
    *,
    specs: Sequence[TargetSpec] = SPECS,
    routes: Iterable[Route] = ROUTES,
    max_body_bytes: int = 1_000_000,
    tenants: Mapping[str, TenantSpec] | None = None,
    limits: Mapping[str, Any] | None = None,
    pipelines: Sequence[Pipeline] = (),
) -> AsyncIterator[Server]:
    """Starts uvicorn on a free port of loopback, as `forebay serve` does."""
    targets = [ChatTarget("gpt"), MessagesTarget("claude"), ChatTarget("other")]
    routes, clock = tuple(routes), FakeClock()
    notifier = ScriptedNotifier()
    async with open_services(folder, targets, specs=specs, routes=routes, clock=clock, notifier=notifier) as services:
        services = replace(
            services,
            tenants=tenants or {},
            pipelines={one.name: one for one in pipelines},
            event_triggers=EventTriggers(pipelines),
        )
        place = StoreSettings(url="sqlite:///:memory:", path=folder / "unused.db")
        given = {"max_body_bytes": max_body_bytes, **(limits or {})}
        settings = Settings(store=place, blobs=folder / "blobs", routes=routes, **given)
        system = System(settings=settings, services=services, store=cast("Any", None))
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(system, port=0, ready=started.set_result))
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        url = started.result() if started.done() else str(await serving)
        hand = Hand(services)
        await hand.open()
        try:
            async with aiohttp.ClientSession(url) as http:
                yield Server(url=url, services=services, http=http, hand=hand, serving=serving, clock=clock)
        finally:
            hand.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
