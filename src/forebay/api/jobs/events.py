"""``GET /v1/jobs/{id}/events``: what happens to a job, as server-sent events that resume where a client had come to."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from forebay.api.admission import load, no_job
from forebay.api.context import Api, api_of, caller_of
from forebay.api.keys.ring import presented_key
from forebay.api.reading import WHOLE
from forebay.api.streams import EVENT_STREAM, HEADERS
from forebay.api.views import JobView, view_of
from forebay.api.waiting import wait_for_signal
from forebay.domain.errors import RequestError, StoreUnavailable, Unauthorized
from forebay.domain.job import Job
from forebay.domain.query import Parts
from forebay.engine.intake import INFER
from forebay.policy.job_events import EventType, JobEvent, Standing, events_of, standing_elsewhere, standing_of

KEEP_ALIVE_SECONDS = 15.0
KEEP_ALIVE = b": keep-alive\n\n"
LOOK_SECONDS = 1.0  # ends are hinted at; beginnings of attempts and progress are looked for, by all streams at once
QUIET_SECONDS = 60.0  # after which a job without news is looked at more rarely
QUIET_LOOK_SECONDS = 5.0
LONGEST_ID = 20  # digits
LEDGER = Parts(attempts=True)


class ProgressView(msgspec.Struct, kw_only=True):
    """How far a group has come."""

    total: int
    succeeded: int
    failed: int


class EventView(msgspec.Struct, kw_only=True):
    """The data of an event. ``outcome`` and ``error`` say how the attempt ended, and so why it is made again."""

    type: EventType
    job_id: str
    at: float
    attempt: int | None
    outcome: str | None
    error: str | None
    retry_at: float | None
    progress: ProgressView | None


class EndView(EventView, kw_only=True):
    """The data of the last event."""

    job: JobView


async def events(request: Request) -> Response:
    """All events, or those after ``Last-Event-ID``; 204 tells a client that had the last one to come no more."""
    api, caller = api_of(request), caller_of(request)
    job_id, last_id = request.path_params["id"], _last_id(request)
    job = await load(job_id, api, caller)
    teller = Teller(api, caller.tenant, job_id, last_id)
    if job.is_terminal and (await teller.events(job))[-1].id <= last_id:
        return Response(status_code=204)
    presented = presented_key(dict(request.scope["headers"]))
    return StreamingResponse(teller.run(presented), media_type=EVENT_STREAM, headers=HEADERS)


class Teller:
    """One stream of a job's events."""

    def __init__(self, api: Api, tenant: str, job_id: str, last_id: int) -> None:
        self._api = api
        self._tenant = tenant
        self._job_id = job_id
        self._last_id = last_id
        self._standing: Standing | None = None
        self._was_live = False
        self._told_at = asyncio.get_running_loop().time()

    async def run(self, presented: str | None) -> AsyncIterator[bytes]:
        """Tells until the job has ended, is gone, or the server is going, or the presented key has been revoked."""
        loop = asyncio.get_running_loop()
        silent_since = loop.time()
        with self._api.waiting.on(self._job_id) as signal:
            while True:
                signal.clear()
                try:
                    await self._api.keys.authenticate(presented)
                    job = await self._api.reader.get(self._tenant, self._job_id, LEDGER)
                    news = [] if job is None else await self._news(job)
                except (StoreUnavailable, Unauthorized):  # the client comes again with its last id
                    return
                if news:
                    yield b"".join(news)
                    silent_since = self._told_at = loop.time()
                elif loop.time() - silent_since >= KEEP_ALIVE_SECONDS:
                    yield KEEP_ALIVE
                    silent_since = loop.time()
                if job is None or job.is_terminal or self._api.waiting.gives_up(job):
                    return
                await wait_for_signal(signal, self._pause(loop.time()))

    async def events(self, job: Job) -> list[JobEvent]:
        """All events of the job."""
        if not job.is_group:
            return events_of(job, standing_elsewhere(job) if job.kind == INFER and job.progress else None)
        [tally] = await self._api.services.jobs.tally([job.id])
        return events_of(job, standing_of(job, tally))

    async def _news(self, job: Job) -> list[bytes]:
        news = [event for found in await self.events(job) if (event := self._numbered(found, job)) is not None]
        self._was_live = not job.is_terminal
        return [await self._written(event) for event in news]

    def _numbered(self, event: JobEvent, job: Job) -> JobEvent | None:
        """The event if it is new to this client. What begins anew in a retried group counts on from the last id."""
        is_moved = event.type is EventType.PROGRESS and not job.is_terminal and event.progress != self._standing
        is_end = event.type.is_terminal and self._was_live  # although the clock was set back
        if event.id <= self._last_id:
            if not (is_moved or is_end):
                return None
            event = replace(event, id=self._last_id + 1)
        if event.type is EventType.PROGRESS:
            self._standing = event.progress
        self._last_id = event.id
        return event

    async def _written(self, event: JobEvent) -> bytes:
        attempt, standing = event.attempt, event.progress
        has_ended = event.type is not EventType.STARTED and attempt is not None
        data = EventView(
            type=event.type,
            job_id=self._job_id,
            at=event.at,
            attempt=attempt.number if attempt else None,
            outcome=attempt.outcome if attempt and has_ended else None,
            error=attempt.error if attempt and has_ended else None,
            retry_at=attempt.retry_at if attempt and has_ended else None,
            progress=ProgressView(total=standing.total, succeeded=standing.succeeded, failed=standing.failed)
            if standing
            else None,
        )
        if event.type.is_terminal:
            data = EndView(**msgspec.structs.asdict(data), job=await self._view())
        text = msgspec.json.encode(data).replace(b"\n", b" ").replace(b"\r", b" ")  # between tokens of a result alone
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.type.encode(), text)

    async def _view(self) -> JobView:
        job = await self._api.reader.get(self._tenant, self._job_id, WHOLE)
        if job is None:
            raise no_job(self._job_id)
        return await view_of(job, self._api.services.blobs)

    def _pause(self, now: float) -> float:
        """Until the next whole look: all streams look in the same turn of the loop, and their reads are one."""
        look = LOOK_SECONDS if now - self._told_at < QUIET_SECONDS else QUIET_LOOK_SECONDS
        return look - now % look


def _last_id(request: Request) -> int:
    text = request.headers.get("last-event-id", "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_ID):
        raise RequestError(f"Last-Event-ID: it is a number that came as `id`, not {text[:50]!r}", param="last-event-id")
    return int(text)
