"""Streams that break: before their first event they are tried again, after it never; after the end mark all is well."""

from pathlib import Path
from typing import NamedTuple

import pytest

from forebay.domain.attempt import Outcome
from forebay.domain.job import ErrorCode, Status
from forebay.domain.target import TargetType
from forebay.targets.clients import HttpLibrary
from forebay.testing.faulty_server import Behaviour
from forebay.testing.wire_faults import SSE, answers, chunk, hangs, head, refuses, resets, sends, streams

from .wire import is_plain, wired

OPENAI, ANTHROPIC, HTTP = TargetType.OPENAI, TargetType.ANTHROPIC, TargetType.HTTP
SPEAKERS = (OPENAI, ANTHROPIC, HTTP)
MAX_ATTEMPTS = 2


def _chat(delta: str, finish: str = "null") -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":%b}]}\n\n' % (
        delta.encode(),
        finish.encode(),
    )


def _bytewise(pieces: tuple[bytes, ...]) -> list[bytes]:
    whole = b"".join(pieces)
    return [whole[place : place + 1] for place in range(len(whole))]


EVENTS = {
    OPENAI: (_chat("one"), _chat(" two", '"stop"'), b"data: [DONE]\n\n"),
    ANTHROPIC: (
        b'data: {"type":"message_start","message":{"type":"message","content":[]}}\n\n',
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"one two"}}\n\n',
        b'data: {"type":"message_stop"}\n\n',
    ),
}
EVENTS[HTTP] = EVENTS[OPENAI]
ERRORS = {
    OPENAI: b'data: {"error":{"message":"The reason.","type":"server_error"}}\n\n',
    ANTHROPIC: b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"The reason."}}\n\n',
}
ERRORS[HTTP] = ERRORS[OPENAI]
OVERLOADED = b'data: {"type":"error","error":{"type":"overloaded_error","message":"Too many."}}\n\n'


#: aiohttp reads what came in one packet together, and tells of nothing before the slip in it.
OF_ONE_PACKET = {"a bad chunk after its first event"}


class Expected(NamedTuple):
    """How a job ends whose every call meets the fault: status, code, calls, outcome of the first one."""

    status: Status
    code: ErrorCode | None
    calls: int
    outcome: Outcome


AGAIN = Expected(Status.FAILED, ErrorCode.INVALID_OUTPUT, MAX_ATTEMPTS, Outcome.INVALID_OUTPUT)
CUT = Expected(Status.FAILED, ErrorCode.STREAM_INTERRUPTED, 1, Outcome.INVALID_OUTPUT)
WELL = Expected(Status.SUCCEEDED, None, 1, Outcome.SUCCEEDED)
WAITED = Expected(Status.SUCCEEDED, None, MAX_ATTEMPTS + 1, Outcome.UNAVAILABLE)


def _faults(kind: TargetType) -> dict[str, tuple[Behaviour, Expected]]:
    first, second, last = EVENTS[kind]
    error = ERRORS[kind]
    return {
        "whole": (sends(*streams(first, second, last), is_kept=True), WELL),
        "whole, in single bytes": (sends(*_bytewise(streams(first, second, last)), is_kept=True), WELL),
        "cut before its first event": (sends(*streams(ends=False)), AGAIN),
        "ended before its first event": (sends(*streams()), AGAIN),
        "reset before its first event": (resets(*streams(ends=False)), AGAIN),
        "cut after a comment": (sends(*streams(b": processing\n\n", ends=False)), AGAIN),
        "cut in its first event": (sends(*streams(first[:20], ends=False)), AGAIN),
        "cut after its first event": (sends(*streams(first, ends=False)), CUT),
        "reset in its second event": (resets(*streams(first, second[:9], ends=False)), CUT),
        "ended before its end": (sends(*streams(first)), CUT),
        "an error first": (sends(*streams(error)), AGAIN),
        "an error after its first event": (sends(*streams(first, error)), CUT),
        "an overload first": (sends(*streams(OVERLOADED)), WAITED),
        "an event that is no JSON first": (sends(*streams(b"data: {nope\n\n")), AGAIN),
        "an event that is no object first": (sends(*streams(b"data: 5\n\n")), AGAIN),
        "an event nested deeply": (sends(*streams(b"data: " + b"[" * 100_000 + b"\n\n")), AGAIN),
        "an event of invalid UTF-8": (sends(*streams(b'data: {"a":"\xff"}\n\n')), AGAIN),
        "a bad chunk after its first event": (sends(head(200, SSE), chunk(first), b"zz\r\n"), CUT),
        "cut after its end mark": (sends(*streams(first, second, last, ends=False)), WELL),
        "reset after its end mark": (resets(*streams(first, second, last, ends=False)), WELL),
        "garbage after its end mark": (sends(*streams(first, second, last, b"data: {nope\n\n")), WELL),
        "silent after its end mark": (hangs(*streams(first, second, last, ends=False)), WELL),
        "refused": (refuses(503), WAITED),
        "an answer that is no stream": (answers(b'{"choices":[]}'), WELL),
        "HTML": (answers(b"<html>", lines=["content-type: text/html"]), AGAIN),
    }


@pytest.mark.parametrize("kind", SPEAKERS)
@pytest.mark.parametrize("name", _faults(OPENAI))
async def test_a_stream_that_breaks_has_its_end_and_its_count(tmp_path: Path, kind: TargetType, name: str) -> None:
    await _stream(tmp_path, kind, _faults(kind)[name], HttpLibrary.WREQ)


@pytest.mark.parametrize("library", HttpLibrary)
async def test_an_event_beyond_the_bound_is_broken_off(tmp_path: Path, library: HttpLibrary) -> None:
    fault = sends(*streams(b"data: " + b" " * 70_000_000))
    expected = Expected(Status.FAILED, ErrorCode.INVALID_OUTPUT, 1, Outcome.INVALID_OUTPUT)
    await _stream(tmp_path, OPENAI, (fault, expected), library, max_attempts=1)


@pytest.mark.parametrize("name", sorted(_faults(OPENAI).keys() - OF_ONE_PACKET))
async def test_a_stream_that_breaks_under_aiohttp_likewise(tmp_path: Path, name: str) -> None:
    await _stream(tmp_path, OPENAI, _faults(OPENAI)[name], HttpLibrary.AIOHTTP)


async def _stream(
    folder: Path,
    kind: TargetType,
    case: tuple[Behaviour, Expected],
    library: HttpLibrary,
    max_attempts: int = MAX_ATTEMPTS,
) -> None:
    fault, expected = case
    async with wired(folder, {"t": kind}, library=library) as wire:
        wire.server.misbehave(fault, fault)
        job_id = await wire.submit(is_stream=True, max_attempts=max_attempts)
        [job] = await wire.ended(job_id)
        code = ErrorCode(job.error.code) if job.error and job.status is Status.FAILED else None
        assert Expected(job.status, code, len(job.attempts), job.attempts[0].outcome) == expected, job.error
        assert all(one.error is None or is_plain(one.error) for one in job.attempts)
        assert wire.server.calls(job_id) == len(job.attempts)
        text = "".join([piece.text for piece in await wire.engine.services.jobs.read(job_id)])
        assert "The reason." not in text, "an error event is not passed on: the stream's end tells it"
        if "one" in text:
            assert job.result is None or "one two" in (job.result.body.text or "")
        await wire.is_well(job_id)
