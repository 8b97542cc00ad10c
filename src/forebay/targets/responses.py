"""``/v1/responses`` of a model server: passed on where it speaks it, made from chat completions where it doesn't."""

import asyncio
import time
from typing import Any

import msgspec

from forebay.domain.errors import RequestError, TargetError, TargetFailed, TargetRejected
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.response import ENDPOINT, response_id
from forebay.domain.target import ResponsesMode
from forebay.policy.output_text import decode_answer
from forebay.policy.responses_answer import ChatAnswer
from forebay.policy.responses_request import chat_request
from forebay.policy.responses_stream import IN_PROGRESS, events_in, numbered
from forebay.policy.responses_view import blank
from forebay.ports import StreamSink
from forebay.targets.model_server import ModelServer

CHAT = "/v1/chat/completions"
OURS = frozenset({"background", "store", "stream"})  # consumed here, never sent on
_UNKNOWN_PATH = frozenset({404, 405, 501})
_UNREADABLE = (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError, RecursionError)
_FAILED = b'"failed"'

Json = dict[str, Any]


class ResponsesServer:
    """A model server, of which it may have to be learned whether it speaks Responses."""

    def __init__(self, server: ModelServer, name: str, mode: ResponsesMode) -> None:
        self._server = server
        self._name = name
        self._mode = mode

    async def call(self, call: Call, sink: StreamSink | None) -> InferenceResult:
        """As ``Target.call``. What chat completions can't say is a TargetRejected with status 400.

        A server that knows no such path answers 404 at no cost; then the same attempt goes to its chat completions,
        and when these answer, so do all that follow in this process.
        """
        if call.endpoint != ENDPOINT:
            return await self._server.call(call, sink)
        if self._mode is ResponsesMode.CHAT:
            return await self._from_chat(call, sink)
        until = asyncio.get_running_loop().time() + call.timeout_seconds
        try:
            result = await self._server.call(_passed(call), sink)
        except TargetError as refused:
            if self._mode is ResponsesMode.NATIVE or refused.status_code not in _UNKNOWN_PATH:
                raise
            result = await self._tried_chat(call, sink, until, refused)
            self._mode = ResponsesMode.CHAT
            return result
        self._mode = ResponsesMode.NATIVE
        return _checked(result, self._name)

    async def _tried_chat(
        self, call: Call, sink: StreamSink | None, until: float, refused: TargetError
    ) -> InferenceResult:
        rest = max(until - asyncio.get_running_loop().time(), 0.001)
        try:
            return await self._from_chat(msgspec.structs.replace(call, timeout_seconds=rest), sink)
        except TargetError as error:
            if error.status_code in _UNKNOWN_PATH:  # neither: what it said first is about what was asked
                raise refused from error
            raise

    async def _from_chat(self, call: Call, sink: StreamSink | None) -> InferenceResult:
        request = _decoded(call.body)
        asked = _asked(request, is_stream=call.is_stream)
        answer = ChatAnswer(call.job_id.removeprefix("job_"))
        head = blank(request) | {"id": response_id(call.job_id), "created_at": int(time.time())}
        events = _ChatSink(answer, head, sink) if sink is not None and call.is_stream else None
        sent = msgspec.structs.replace(call, endpoint=CHAT, body=asked)
        try:
            result = await self._server.call(sent, events)
            if events is None or not events.has_begun:
                list(answer.add(decode_answer(result.body)))
            if not answer.has_answer:
                message = f"target {self._name!r} answered with a completion that has no choices"
                raise TargetFailed(message, status_code=result.status_code)
            last = list(answer.finish())
            whole = head | answer.members()
            if events is not None and events.has_begun:
                await events.end(last, whole)
        except _UNREADABLE as exc:
            message = f"target {self._name!r} sent a chat completion that can't be read"
            raise TargetFailed(message, status_code=200) from exc
        return msgspec.structs.replace(result, body=msgspec.json.encode(whole), content_type="application/json")


class _ChatSink:
    """Takes the events of chat completions and passes on those of Responses."""

    def __init__(self, answer: ChatAnswer, head: Json, sink: StreamSink) -> None:
        self._answer = answer
        self._head = head
        self._sink = sink
        self._number = 0
        self.has_begun = False

    async def write(self, text: str) -> None:
        for chunk in events_in(text):
            if not self.has_begun:
                self.has_begun = True
                opened = {**self._head, "status": "in_progress"}
                await self._tell({"type": "response.created", "response": opened})
                await self._tell({"type": IN_PROGRESS, "response": opened})
            for event in self._answer.add(chunk):
                await self._tell(event)

    async def end(self, last: list[Json], whole: Json) -> None:
        """The events of what was still open, and the whole."""
        for event in [*last, {"type": f"response.{whole['status']}", "response": whole}]:
            await self._tell(event)

    async def _tell(self, event: Json) -> None:
        await self._sink.write(numbered(event, self._number))
        self._number += 1


def _passed(call: Call) -> Call:
    """The call without what is ours; every other byte of its members stays."""
    try:
        members: dict[str, Any] = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return call  # the server will say what it thinks of it
    if OURS.isdisjoint(members) and not call.is_stream:
        return call
    kept = {name: value for name, value in members.items() if name not in OURS}
    if call.is_stream:
        kept["stream"] = True
    return msgspec.structs.replace(call, body=msgspec.json.encode(kept))


def _checked(result: InferenceResult, name: str) -> InferenceResult:
    """A 200 may tell of a response that failed. Raises: TargetFailed."""
    if _FAILED not in result.body:
        return result
    try:
        answered = decode_answer(result.body)
    except ValueError:
        return result
    if not isinstance(answered, dict) or answered.get("status") != "failed":
        return result
    error = answered.get("error")
    reason = error.get("message") if isinstance(error, dict) else None
    raise TargetFailed(f"target {name!r} answered that the response failed: {reason}", status_code=200)


def _decoded(body: bytes) -> Json:
    try:
        return msgspec.json.decode(body, type=Json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise TargetRejected("the request is no object of JSON", status_code=400) from exc


def _asked(request: Json, *, is_stream: bool) -> bytes:
    """The request as chat completions. Raises: TargetRejected: it can't be said there; with the vendor's envelope."""
    try:
        chat = chat_request(request)
    except RequestError as exc:
        error = {"message": exc.message, "type": "invalid_request_error", "param": exc.param, "code": exc.code}
        raise TargetRejected(exc.message, status_code=400, body=msgspec.json.encode({"error": error})) from exc
    if is_stream:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(chat)
