"""What happens to one request of the mock model, from its head to the last byte of its answer."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from forebay.domain.errors import RequestError
from forebay.testing.mock_model import answers, replies
from forebay.testing.mock_model.connection import Connection, HttpRequest
from forebay.testing.mock_model.counters import Counters
from forebay.testing.mock_model.exchange import Asked, Exchange
from forebay.testing.mock_model.faults import FaultChooser
from forebay.testing.mock_model.limits import Bucket, Room
from forebay.testing.mock_model.options import MockOptions, Told, changed
from forebay.testing.mock_model.request import Request, tokens_of
from forebay.testing.mock_model.videos import Videos

_VERSION = "/v1"
_MODELS = "/models"
_MESSAGES = "/messages"
_RESPONSES = "/responses"
VIDEOS = "/videos"
THROTTLED = 429


class MockService:
    """The state of one mock model: options, counters, rate limits. Its ``handle`` serves every connection."""

    def __init__(self, options: MockOptions) -> None:
        self.counters = Counters()
        self._held: dict[Exchange, _Held] = {}
        self._videos = Videos()
        self.configure(options)

    def configure(self, options: MockOptions) -> None:
        """Takes new options; limits and chance begin anew."""
        self.options = options
        self._faults = FaultChooser(options)
        self._room = Room(options)
        per_minute = {"requests": options.requests_per_minute, "tokens": options.tokens_per_minute}
        self._buckets = {
            unit: Bucket(amount, options.burst_seconds) for unit, amount in per_minute.items() if amount is not None
        }
        for exchange, held in list(self._held.items()):
            if not self._is_held(held.number):
                self._held.pop(exchange).go_on()

    def handle(self, connection: Connection, http: HttpRequest) -> None:
        """Answers a request: at once, later, or never, as the options say."""
        path = http.path.removeprefix(_VERSION)
        if path.startswith("/mock/"):
            self._administer(connection, http, path)
        elif not self._is_authorized(http):
            self._error(connection, 401, "the API key is missing or wrong", path)
        elif http.method == "GET" and path.startswith(_MODELS):
            self._list_models(connection, path)
        elif (
            http.method == "POST"
            and (path in answers.ENDPOINTS or path == VIDEOS)
            and not (self.options.chat_only and path == _RESPONSES)
        ):
            self._infer(connection, http, path)
        elif path == VIDEOS or path.startswith(VIDEOS + "/"):
            self._serve_video(connection, http, path)
        else:
            self._error(connection, 404, f"no {http.method} {http.path} here", path)

    def _infer(self, connection: Connection, http: HttpRequest, path: str) -> None:
        call = self.counters.begin(
            path, http.header("x-forebay-job-id"), http.header("x-forebay-attempt"), http.header("idempotency-key")
        )
        refusal = self._refusal(http.body)
        if refusal is not None:
            self.counters.refused += 1
            self.counters.end(refusal.outcome, call)
            lines = self._throttle_lines(refusal.wait_seconds)
            self._error(connection, refusal.status, "limit reached", path, lines)
            return
        verdict = self._faults.choose(http.body)
        asked = Asked(path, http.body, call, http.header("idempotency-key"))
        exchange = Exchange(self, connection, asked, verdict)
        number = self.counters.total
        if self._is_held(number):
            self._held[exchange] = _Held(number, partial(self._answer, connection, exchange, call))
            connection.on_lost = partial(self._give_up_held, call, exchange)
        else:
            self._answer(connection, exchange, call)

    def body_of(self, asked: Asked, request: Request) -> tuple[bytes, str, list[str]]:
        """The body of an answer, its media type and further headers."""
        if asked.path == VIDEOS:
            return self._videos.create(request, asked.body, asked.key), replies.JSON, self._poll_lines(is_working=True)
        make_body, content_type = answers.ENDPOINTS[asked.path]
        if make_body is answers.transcription and request.response_format in answers.PLAIN_FORMATS:
            content_type = answers.PLAIN
        return make_body(request, asked.body), content_type, []

    def _serve_video(self, connection: Connection, http: HttpRequest, path: str) -> None:
        answered = self._videos.handle(http.method, path, self.options)
        call = self.counters.begin(answered.name, None, None, None)
        self.counters.end(str(answered.status), call)
        number = self.counters.total
        lines = self._poll_lines(is_working=answered.is_working)
        connection.reply(replies.whole(answered.status, answered.body, answered.content_type, number, lines))

    def _poll_lines(self, *, is_working: bool) -> list[str]:
        pause = self.options.video_poll_ms
        return [f"openai-poll-after-ms: {pause}"] if is_working and pause is not None else []

    def _answer(self, connection: Connection, exchange: Exchange, call: str | None) -> None:
        delay = self._faults.delay_seconds() * self._room.slowdown(self.counters.in_flight)
        if delay:
            timer = asyncio.get_running_loop().call_later(delay, exchange.answer)
            connection.on_lost = partial(self._give_up, call, timer)
        else:
            connection.on_lost = partial(self._give_up, call)
            exchange.answer()

    def _is_held(self, number: int) -> bool:
        return self.options.hold_after is not None and number > self.options.hold_after

    def _refusal(self, body: bytes) -> "_Refusal | None":
        now = asyncio.get_running_loop().time()
        status = self._room.refusal(self.counters.in_flight, now)
        if status is not None:
            outcome = "429 concurrency" if status == THROTTLED else "503 overload"
            return _Refusal(outcome, self.options.retry_after_seconds, status)
        amounts = {"requests": 1, "tokens": tokens_of(body)}
        for unit, bucket in self._buckets.items():
            wait_seconds = bucket.take(amounts[unit], now)
            if wait_seconds:
                return _Refusal(f"429 {unit}", wait_seconds)
        return None

    def _give_up(self, call: str | None, timer: asyncio.TimerHandle | None = None) -> None:
        """The client went away before it was answered."""
        if timer is not None:
            timer.cancel()
        self.counters.end("aborted", call)

    def _give_up_held(self, call: str | None, exchange: Exchange) -> None:
        self._held.pop(exchange, None)
        self._give_up(call)

    def _is_authorized(self, http: HttpRequest) -> bool:
        key = self.options.api_key
        return key is None or http.header("authorization") == f"Bearer {key}" or http.header("x-api-key") == key

    def _throttle_lines(self, wait_seconds: float) -> list[str]:
        if self.options.told is Told.NOTHING:
            return []
        waits = [f"retry-after: {math.ceil(wait_seconds)}", f"retry-after-ms: {wait_seconds * 1000:.0f}"]
        return [*waits, *self.limit_lines()]

    def limit_lines(self) -> list[str]:
        """The headers of the rate limits, where there are any."""
        if self.options.told is not Told.ALL:
            return []
        return [line for unit, bucket in self._buckets.items() for line in bucket.headers(unit)]

    def _error(self, connection: Connection, status: int, message: str, path: str, lines: Sequence[str] = ()) -> None:
        number = self.counters.total
        body = replies.error_body(status, message, is_anthropic=path.startswith(_MESSAGES), number=number)
        connection.reply(replies.whole(status, body, replies.JSON, number, lines))

    def refuse(self, connection: Connection, status: int, path: str, message: str) -> None:
        """Answers an error; 429 and 503 say when to come back, a redirect says where to."""
        lines: list[str] = []
        if status in {THROTTLED, 503}:
            self.counters.refused += 1
            lines = self._throttle_lines(self.options.retry_after_seconds)
        elif 300 <= status < 400:
            lines = ["location: /elsewhere"]
        self._error(connection, status, message, path, lines)

    def _list_models(self, connection: Connection, path: str) -> None:
        models = self.options.models
        name = path.removeprefix(_MODELS).removeprefix("/")
        body = answers.model_list((name,) if name else models)
        if name:
            body = msgspec.json.encode(msgspec.json.decode(body)["data"][0])
        connection.reply(replies.whole(200, body, replies.JSON, self.counters.total))

    def _administer(self, connection: Connection, http: HttpRequest, path: str) -> None:
        """``GET /mock/calls[?ids=1]``, ``POST /mock/options``, ``POST /mock/reset``."""
        match http.method, path:
            case "GET", "/mock/calls":
                body = msgspec.json.encode(self.counters.view(with_ids="ids=1" in http.query))
            case "GET", "/mock/options":
                body = msgspec.json.encode(self.options)
            case "POST", "/mock/options":
                try:
                    self.configure(changed(self.options, http.body))
                except RequestError as exc:
                    self._error(connection, 400, exc.message, path)
                    return
                body = msgspec.json.encode(self.options)
            case "POST", "/mock/reset":
                self.counters.reset()
                self.configure(self.options)
                body = b"{}"
            case _:
                self._error(connection, 404, f"no {http.method} {path} here", path)
                return
        connection.reply(replies.whole(200, body, replies.JSON, self.counters.total))


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A limit is reached."""

    outcome: str
    wait_seconds: float
    status: int = THROTTLED


@dataclass(frozen=True, slots=True)
class _Held:
    """A call that gets no answer yet: the how manieth it was, and what answers it."""

    number: int
    go_on: Callable[[], None]
