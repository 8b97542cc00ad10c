"""``stream: true``: the vendor's own events, passed on from the durable chunks; comments until they come."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from forebay.api.admission import no_job
from forebay.api.answers import JOB_ID, answer_of, failure_document
from forebay.api.context import Api
from forebay.api.errors import Problem, error_document, is_anthropic
from forebay.api.reading import ANSWER
from forebay.api.waiting import wait_for_signal
from forebay.domain.content import Chunk
from forebay.domain.job import Job, Status

EVENT_STREAM = "text/event-stream"
KEEP_ALIVE_SECONDS = 10.0  # below the idle limits of proxies
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
CHUNKS = 256  # read at once


async def stream_of(job_id: str, request: Request, api: Api, tenant: str, headers: dict[str, str]) -> Response:
    """Answers with the stream; a job that fails before its first event is answered with its status instead.

    Nothing is sent before the first event, the job's end, or the time of a first keep-alive.
    """
    reader = StreamReader(job_id, api, tenant)
    begun = await _begun(reader, KEEP_ALIVE_SECONDS, request, api, headers)
    return begun or _streamed(reader, None, request, api, headers)


async def stream_within(
    job_id: str, seconds: float, request: Request, api: Api, tenant: str, headers: dict[str, str]
) -> Response | None:
    """Answers as ``stream_of`` does if the first event, or the job's end, comes within so many seconds."""
    return await _begun(StreamReader(job_id, api, tenant), seconds, request, api, headers)


async def _begun(
    reader: "StreamReader", seconds: float, request: Request, api: Api, headers: dict[str, str]
) -> Response | None:
    with api.waiting.on(reader.job_id) as signal:
        first = await reader.next(signal, seconds)
    if first is not None:
        return _streamed(reader, first, request, api, headers)
    if reader.ended is not None:
        return await answer_of(reader.ended, request, api, headers)
    return None


def _streamed(
    reader: "StreamReader", first: list[Chunk] | None, request: Request, api: Api, headers: dict[str, str]
) -> Response:
    events = _events(reader, first, request, api)
    named = {JOB_ID: reader.job_id, **HEADERS, **headers}
    return StreamingResponse(events, media_type=EVENT_STREAM, headers=named)


class StreamReader:
    """Where one reader stands in a job's stream."""

    def __init__(self, job_id: str, api: Api, tenant: str) -> None:
        self.job_id = job_id
        self._api = api
        self._tenant = tenant
        self._last = -1
        self.ended: Job | None = None

    async def next(self, signal: asyncio.Event, seconds: float) -> list[Chunk] | None:
        """Returns further chunks; None when the time is up, the server is going, or (``ended`` is set) at the end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            signal.clear()
            if chunks := await self._chunks():
                return chunks
            job = await self._api.reader.get(self._tenant, self.job_id, ANSWER)
            if job is None:
                raise no_job(self.job_id)
            if job.is_terminal:
                # What was said between the two reads comes before the end.
                if chunks := await self._chunks():
                    return chunks
                self.ended = job
                return None
            left = until - loop.time()
            if left <= 0 or self._api.waiting.is_closing:
                return None
            await wait_for_signal(signal, left)

    async def _chunks(self) -> list[Chunk]:
        chunks = await self._api.services.jobs.read(self.job_id, after=self._last, limit=CHUNKS)
        if chunks:
            self._last = chunks[-1].number
        return chunks


async def _events(reader: StreamReader, first: list[Chunk] | None, request: Request, api: Api) -> AsyncIterator[bytes]:
    with api.waiting.on(reader.job_id) as signal:
        chunks = first
        while True:
            yield KEEP_ALIVE if chunks is None else "".join(chunk.text for chunk in chunks).encode()
            chunks = await reader.next(signal, KEEP_ALIVE_SECONDS)
            if chunks is None and (reader.ended is not None or api.waiting.is_closing):
                break
    if reader.ended is None:
        problem = Problem(status=503, message="The server is stopping; the job goes on", code="server_stopping")
        yield _error_event(error_document(problem, request), request)
    elif reader.ended.status is not Status.SUCCEEDED:
        yield _error_event(await failure_document(reader.ended, request, api), request)


def _error_event(document: bytes, request: Request) -> bytes:
    """The last event of a stream that was cut. OpenAI's SDK looks into the data, Anthropic's at the event's name."""
    data = b"data: " + document.replace(b"\n", b" ") + b"\n\n"
    return b"event: error\n" + data if is_anthropic(request) else data
