"""One call of the mock model after its latency: the answer, whole or as a stream, or the fault it was given."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from forebay.testing.mock_model import replies
from forebay.testing.mock_model.connection import Connection
from forebay.testing.mock_model.counters import Counters
from forebay.testing.mock_model.faults import Verdict
from forebay.testing.mock_model.forms import as_json
from forebay.testing.mock_model.options import Fault, MockOptions
from forebay.testing.mock_model.request import Request, read_request
from forebay.testing.mock_model.streams import STREAMS

_NO_JSON = b"<html><body>It works!</body></html>"


class Service(Protocol):
    """What an exchange needs of the service that it is part of."""

    counters: Counters
    options: MockOptions

    def refuse(self, connection: Connection, status: int, path: str, message: str) -> None: ...

    def limit_lines(self) -> list[str]: ...

    def body_of(self, asked: "Asked", request: Request) -> tuple[bytes, str, list[str]]: ...


class Asked(NamedTuple):
    """A call. ``name``: under which the counters are told of its end; ``key``: its ``Idempotency-Key``."""

    path: str
    body: bytes
    name: str | None
    key: str | None = None


class Exchange:
    """A call that was begun in the counters; ends in them once, whatever becomes of it."""

    __slots__ = ("_body", "_call", "_connection", "_key", "_number", "_path", "_service", "_verdict")

    def __init__(self, service: Service, connection: Connection, asked: Asked, verdict: Verdict) -> None:
        self._service = service
        self._connection = connection
        self._path, self._body, self._call, self._key = asked
        self._verdict = verdict
        self._number = service.counters.total

    def answer(self) -> None:
        """Answers now."""
        verdict, connection = self._verdict, self._connection
        if verdict.status is not None:
            self._end()
            self._service.refuse(connection, verdict.status, self._path, f"a fault on demand: {verdict.status}")
        elif verdict.fault is Fault.HANG:
            connection.on_lost = partial(self._service.counters.end, verdict.outcome, self._call)
        elif verdict.fault is Fault.RESET:
            self._end()
            connection.reset()
        else:
            self._infer()

    def _infer(self) -> None:
        self._body = as_json(self._body)
        try:
            request = read_request(self._body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            self._end("400")
            self._service.refuse(self._connection, 400, self._path, f"the request can't be read: {exc}")
            return
        if request.stream and self._path in STREAMS:
            self._stream(request)
        else:
            self._whole(request)

    def _whole(self, request: Request) -> None:
        asked = Asked(self._path, self._body, self._call, self._key)
        body, content_type, lines = self._service.body_of(asked, request)
        match self._verdict.fault:
            case Fault.INVALID:
                body = _NO_JSON
            case Fault.TRUNCATE:
                body = body[: len(body) // 2]
        answer = replies.whole(200, body, content_type, self._number, [*self._service.limit_lines(), *lines])
        self._end()
        if self._is_cut:
            self._connection.write(answer[: len(answer) - len(body) // 2])
            self._cut()
        else:
            self._connection.reply(answer)

    def _stream(self, request: Request) -> None:
        options = self._service.options
        events = STREAMS[self._path](request, self._body, options.stream_words_per_event)
        if self._verdict.fault is Fault.INVALID:
            events = iter([b"data: {broken\n\n"])
        elif self._verdict.fault is not None:
            every = list(events)
            events = iter(every[: len(every) // 2])
        self._connection.write(replies.stream_head(self._number, self._service.limit_lines()))
        if options.stream_interval_ms:
            self._send_next(events, options.stream_interval_ms / 1000)
        else:
            self._connection.write(b"".join(map(replies.chunk, events)))
            self._end_stream()

    def _send_next(self, events: Iterator[bytes], interval_seconds: float) -> None:
        event = next(events, None)
        if event is None:
            self._end_stream()
            return
        self._connection.write(replies.chunk(event))
        loop = asyncio.get_running_loop()
        timer = loop.call_later(interval_seconds, self._send_next, events, interval_seconds)
        self._connection.on_lost = partial(self._abandon, timer)

    def _abandon(self, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._service.counters.end("aborted", self._call)

    def _end_stream(self) -> None:
        self._end()
        if self._is_cut:
            self._cut()
        else:
            self._connection.reply(replies.LAST_CHUNK)

    @property
    def _is_cut(self) -> bool:
        return self._verdict.fault in {Fault.RESET_BODY, Fault.CLOSE_BODY}

    def _cut(self) -> None:
        if self._verdict.fault is Fault.RESET_BODY:
            self._connection.reset_soon()
        else:
            self._connection.close()

    def _end(self, outcome: str | None = None) -> None:
        self._connection.on_lost = None
        self._service.counters.end(outcome or self._verdict.outcome, self._call)
