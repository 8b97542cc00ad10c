"""One streaming call: events go to the sink as they come, verbatim; the result is their sum."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import msgspec

from forebay.domain.errors import TargetError, TargetFailed, TargetThrottled, TargetTimeout, TargetUnavailable
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable
from forebay.ports import StreamSink
from forebay.targets.assembly import Assembly, StreamError, assembly_for, raise_error_event
from forebay.targets.endpoint import content_type_of, read_answer
from forebay.targets.failures import by_status, check_status
from forebay.targets.http import Response, StreamResponse
from forebay.targets.sse import event_data, whole_events

LAST_WORD_SECONDS = 1.0  # between the end mark and the end of the answer
_END_MARK = b"[DONE]"
#: What decoding events of another shape than the vendor's raises.
_UNREADABLE = (KeyError, TypeError, AttributeError, ValueError, RecursionError)  # of whatever shape an event is
_SSE = "text/event-stream"
_OVERLOADED = frozenset({"overloaded_error", "overloaded"})
_THROTTLED = frozenset({"rate_limit_error", "rate_limit_exceeded"})


async def stream_call(
    opened: AbstractAsyncContextManager[StreamResponse],
    call: Call,
    spec: TargetSpec,
    table: PriceTable,
    sink: StreamSink | None,
) -> InferenceResult:
    """Runs the call. An answer that is no event stream is returned as it is, and nothing goes to the sink.

    Raises: a TargetError; TargetFailed for a stream that ends before its end or in an error event (which does not go
    to the sink: whoever holds it says how the call ended).
    """
    async with opened as answer:
        if answer.status != 200 or content_type_of(answer.headers) != _SSE:
            try:
                body = b"".join([chunk async for chunk in answer.chunks])
            except (TargetFailed, TargetTimeout) as exc:
                raise by_status(exc) from exc
            response = Response(status=answer.status, headers=answer.headers, body=body)
            check_status(response, spec.name, spec.api_key)
            return read_answer(response, call, spec, table)
        assembly = assembly_for(call.endpoint)
        body = await _pump(answer, assembly, spec.name, sink)
    headers = {**answer.headers, "content-type": "application/json"}
    return read_answer(Response(status=200, headers=headers, body=body), call, spec, table)


async def _pump(answer: StreamResponse, assembly: Assembly, target: str, sink: StreamSink | None) -> bytes:
    """Passes every event on, and returns their sum."""
    is_first = True
    events = whole_events(answer.chunks)
    async for event in events:
        data = event_data(event)
        try:
            _add(assembly, data)
        except StreamError as exc:
            raise _told(exc, target, is_first=is_first) from exc
        except _UNREADABLE as exc:
            raise TargetFailed(f"target {target!r} sent an event that can't be read", status_code=200) from exc
        if sink is not None and (data or not is_first):  # a comment first is no word of the answer's: it may be retried
            await sink.write(event.decode(errors="replace"))
        is_first = is_first and not data
        if assembly.is_ended:
            await _let_end(events)
            break
    if not assembly.is_complete:
        raise TargetFailed(f"target {target!r} ended its stream before its end", status_code=200)
    try:
        return assembly.body()
    except _UNREADABLE as exc:
        raise TargetFailed(f"target {target!r} sent events that do not add up", status_code=200) from exc


async def _let_end(events: AsyncIterator[bytes]) -> None:
    """Gives the connection a moment to end well, so that it can be kept. The answer is whole: no cut undoes it."""
    with contextlib.suppress(TargetError, TimeoutError):
        async with asyncio.timeout(LAST_WORD_SECONDS):
            async for _ in events:
                pass


def _add(assembly: Assembly, data: bytes) -> None:
    if data == _END_MARK:
        assembly.finish()
    elif data:
        event = msgspec.json.decode(data)
        raise_error_event(event)
        assembly.add(event)


def _told(error: StreamError, target: str, *, is_first: bool) -> TargetError:
    """An overload told in the very first event has cost nothing; anything later is a failed call."""
    message = f"target {target!r} ended its stream with an error: {error}"
    if is_first and error.kind in _OVERLOADED:
        return TargetUnavailable(message, status_code=200)
    if is_first and error.kind in _THROTTLED:
        return TargetThrottled(message, status_code=200)
    return TargetFailed(message, status_code=200)
