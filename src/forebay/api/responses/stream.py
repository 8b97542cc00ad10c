"""A Response's stream: its durable events, with what its job says before and after them.

Numbers are those of the durable events, or follow from the answer alone: whoever comes again, to whichever server, is
told the same events under the same numbers.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from forebay.api.answers import JOB_ID, answer_of
from forebay.api.context import Api
from forebay.api.errors import Problem, error_document, problem_of
from forebay.api.keys.ring import presented_key
from forebay.api.responses.reading import Found, answer_in
from forebay.api.streams import EVENT_STREAM, HEADERS, KEEP_ALIVE, KEEP_ALIVE_SECONDS, StreamReader
from forebay.domain.content import Chunk
from forebay.domain.errors import RequestError, StoreUnavailable
from forebay.domain.job import Job, Status
from forebay.domain.response import State, is_background_response
from forebay.policy.responses_events import events_of
from forebay.policy.responses_stream import CUT, FIRST, IN_PROGRESS, numbered, told_in
from forebay.policy.responses_view import view_of

Json = dict[str, Any]

_STOPPING = Problem(status=503, message="The server is stopping; the job goes on", code="server_stopping")
_BEGINNINGS = frozenset({CUT, IN_PROGRESS})


def stream_response(found: Found, request: Request, api: Api, headers: dict[str, str], after: int = -1) -> Response:
    """The stream of a response that has an id already: nothing that becomes of it changes the status of this reply."""
    reader = StreamReader(found.job.id, api, found.job.tenant)
    return _streamed(_Telling(found, api, after), reader, None, request, headers)


async def stream_awaited(
    found: Found, seconds: float, request: Request, api: Api, headers: dict[str, str]
) -> Response | None:
    """The stream of an awaited one if it begins, or its refusal with its status, within so many seconds."""
    reader = StreamReader(found.job.id, api, found.job.tenant)
    with api.waiting.on(reader.job_id) as signal:
        first = await reader.next(signal, seconds)
    if first is None and reader.ended is None:
        return None
    if reader.ended is not None and reader.ended.status is not Status.SUCCEEDED:
        return await answer_of(reader.ended, request, api, headers)
    return _streamed(_Telling(found, api, -1), reader, first, request, headers)


def _streamed(
    telling: "_Telling", reader: StreamReader, first: list[Chunk] | None, request: Request, headers: dict[str, str]
) -> Response:
    named = {JOB_ID: reader.job_id, **HEADERS, **headers}
    return StreamingResponse(_texts(telling, reader, first, request), media_type=EVENT_STREAM, headers=named)


async def _texts(
    telling: "_Telling", reader: StreamReader, first: list[Chunk] | None, request: Request
) -> AsyncIterator[bytes]:
    """Nothing more is told once the key that asked is no longer one; what ends a stream before its end is an error."""
    api = telling.api
    presented = presented_key(dict(request.scope["headers"]))
    yield telling.beginning().encode() or KEEP_ALIVE
    with api.waiting.on(reader.job_id) as signal:
        chunks = first
        while reader.ended is None:
            if chunks and (text := telling.durable(chunks)):
                yield text.encode()
            try:
                chunks = await reader.next(signal, KEEP_ALIVE_SECONDS)
                await api.keys.authenticate(presented)
            except (RequestError, StoreUnavailable) as gone:
                yield _error_event(problem_of(gone), request)
                return
            if chunks is None and reader.ended is None:
                if api.waiting.is_closing:
                    yield _error_event(_STOPPING, request)
                    return
                yield KEEP_ALIVE
    yield (await telling.end(reader.ended)).encode()


def _error_event(problem: Problem, request: Request) -> bytes:
    """What the vendor's client raises as an error of the stream."""
    return b"data: " + error_document(problem, request) + b"\n\n"


class _Telling:
    """What one reader was told of one response so far."""

    def __init__(self, found: Found, api: Api, after: int) -> None:
        self.api = api
        self._found = found
        self._after = after
        self._last = FIRST - 1
        self._has_output = False  # since the last beginning
        self._is_background = is_background_response(found.job)

    def beginning(self) -> str:
        """What every stream begins with. In the background the call has not begun by that."""
        state = State.QUEUED if self._is_background else State.IN_PROGRESS
        response = {**view_of(self._found.job, self._found.request), **_NOTHING_YET, "status": state.value}
        kinds = ("response.created", "response.queued" if self._is_background else IN_PROGRESS)
        events = [{"type": kind, "response": response} for kind in kinds]
        return "".join(self._told(event, number) for number, event in enumerate(events))

    def durable(self, chunks: list[Chunk]) -> str:
        """The events of chunks, those that the reader has already left out."""
        texts = []
        for chunk in chunks:
            for told, text in told_in(chunk.text):
                self._last = told.sequence_number
                self._has_output = told.type not in _BEGINNINGS
                if self._last > self._after:
                    texts.append(text)
        return "".join(texts)

    async def end(self, job: Job) -> str:
        """The last event; before it, the answer of a target that did not stream it."""
        answered = await answer_in(job, self.api)
        view = view_of(job, self._found.request, answered)
        events: list[Json] = []
        if job.status is Status.SUCCEEDED and not self._has_output:
            events += self._whole(view)
        events.append({"type": f"response.{view['status']}", "response": view})
        return "".join(self._told(event, self._last + place) for place, event in enumerate(events, start=1))

    def _whole(self, view: Json) -> Iterator[Json]:
        if self._is_background and self._last < FIRST:
            yield {"type": IN_PROGRESS, "response": {**view, **_NOTHING_YET, "status": State.IN_PROGRESS.value}}
        yield from events_of(view["output"])

    def _told(self, event: Json, number: int) -> str:
        return numbered(event, number) if number > self._after else ""


_NOTHING_YET: Json = {"error": None, "incomplete_details": None, "output": [], "usage": None, "completed_at": None}
