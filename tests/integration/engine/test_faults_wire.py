"""Every wrong answer that a server can give at once: what becomes of the job, its attempts and the lane."""

from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import pytest

from forebay.domain.attempt import Outcome
from forebay.domain.job import ErrorCode, Job, Status
from forebay.domain.target import TargetType
from forebay.targets.clients import DEFAULT_LIBRARY, HttpLibrary
from forebay.testing.faulty_server import Behaviour
from forebay.testing.wire_faults import (
    JSON,
    answers,
    bombs,
    chunk,
    floods,
    half_closes,
    head,
    refuses,
    resets,
    sends,
    whole,
    zipped,
)

from .wire import is_plain, wired

SPEAKERS = (TargetType.OPENAI, TargetType.ANTHROPIC, TargetType.HTTP)
MAX_ATTEMPTS = 2
BOUND_BYTES = 64 * 1024 * 1024


class Expected(NamedTuple):
    """How a fault ends that is met twice: the outcome and the status of each attempt, whether they count, the code."""

    outcome: Outcome
    code: ErrorCode | None
    is_counted: bool
    status_code: int | None
    is_final: bool = False


def refused(status: int) -> Expected:
    return Expected(Outcome.REJECTED, ErrorCode.TARGET_REJECTED, True, status, is_final=True)


def failed(status: int | None) -> Expected:
    return Expected(Outcome.UNAVAILABLE, ErrorCode.TARGET_UNAVAILABLE, True, status)


def away(status: int | None) -> Expected:
    return Expected(Outcome.UNAVAILABLE, None, False, status)


THROTTLED = Expected(Outcome.THROTTLED, None, False, 429)
UNREADABLE = Expected(Outcome.INVALID_OUTPUT, ErrorCode.INVALID_OUTPUT, True, 200)
ANSWERED = Expected(Outcome.SUCCEEDED, None, False, 200, is_final=True)
BODY = b'{"choices": [], "content": []}'
CHUNKED = head(200, [*JSON, "transfer-encoding: chunked"])

STATUSES = {
    **{str(status): (refuses(status), failed(status)) for status in (408, 409, 425, 500, 501, 502, 504, 520, 599)},
    **{str(status): (refuses(status), refused(status)) for status in (400, 401, 402, 403, 404, 405, 410, 413, 415)},
    **{str(status): (refuses(status), refused(status)) for status in (422, 451, 499)},
    **{
        str(status): (refuses(status, "location: /v1/elsewhere"), refused(status))
        for status in (301, 302, 303, 307, 308)
    },
    "503": (refuses(503), away(503)),
    "529": (refuses(529), away(529)),
    "429": (refuses(429), THROTTLED),
    "503 that asks for a minute": (refuses(503, "retry-after: 60"), away(503)),
    "429 after 2 s": (refuses(429, "retry-after: 2"), THROTTLED),
    "429 after 0 s": (refuses(429, "retry-after: 0"), THROTTLED),
    "429 until a date": (refuses(429, f"retry-after: {formatdate(usegmt=True)}"), THROTTLED),
    "429 until a date long ago": (refuses(429, "retry-after: Wed, 21 Oct 2015 07:28:00 GMT"), THROTTLED),
    "429 with a senseless wait": (refuses(429, "retry-after: soon"), THROTTLED),
    "429 with a negative wait": (refuses(429, "retry-after: -5"), THROTTLED),
    "429 with an empty wait": (refuses(429, "retry-after:"), THROTTLED),
    "429 with an endless wait": (refuses(429, "retry-after: 99999999999999999999"), THROTTLED),
    "429 of HTML": (answers(b"<html>Slow down</html>", status=429, lines=["content-type: text/html"]), THROTTLED),
    "429 without a body": (answers(b"", status=429, lines=[]), THROTTLED),
    "500 of HTML": (answers(b"<h1>Oops</h1>", status=500, lines=["content-type: text/html"]), failed(500)),
    "500 that repeats the key": (refuses(500, message="no sk-very-secret\nfor you"), failed(500)),
    "400 with a message of 1 MB": (refuses(400, message="x" * 1_000_000), refused(400)),
    "400 nested deeply": (answers(b'{"error":' * 20_000, status=400), refused(400)),
    "503 cut in its body": (sends(head(503, [*JSON, "content-length: 99"]) + b"{"), away(503)),
    "429 cut in its body": (sends(head(429, [*JSON, "content-length: 99"]) + b"{"), THROTTLED),
    "400 cut in its body": (sends(head(400, [*JSON, "content-length: 99"]) + b"{"), refused(400)),
    "500 cut in its body": (resets(head(500, [*JSON, "content-length: 99"]) + b"{"), failed(500)),
}
BODIES = {
    "an array": (answers(b"[1]"), ANSWERED),
    "null": (answers(b"null"), ANSWERED),
    "no body": (answers(b""), UNREADABLE),
    "spaces": (answers(b"   "), UNREADABLE),
    "HTML called JSON": (answers(b"<html></html>"), UNREADABLE),
    "JSON called text": (answers(BODY, lines=["content-type: text/plain"]), ANSWERED),
    "JSON called nothing": (answers(BODY, lines=[]), ANSWERED),
    "JSON nested 100,000 deep": (answers(b"[" * 100_000 + b"]" * 100_000), UNREADABLE),
    "a member nested 100,000 deep": (answers(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), UNREADABLE),
    "NUL bytes": (answers(b'{"a":"\0"}'), UNREADABLE),
    "an escaped NUL": (answers(b'{"a":"\\u0000"}'), ANSWERED),
    "a lone surrogate": (answers(b'{"a":"\\ud800"}'), UNREADABLE),
    "invalid UTF-8": (answers(b'{"a":"\xff"}'), UNREADABLE),
    "UTF-16": (answers('{"a":1}'.encode("utf-16")), UNREADABLE),
    "NaN": (answers(b'{"a":NaN}'), UNREADABLE),
    "two objects": (answers(b"{}{}"), UNREADABLE),
    "half an object": (answers(b'{"choices":[{"message"'), UNREADABLE),
    "an object and a rest": (answers(b"{} garbage"), UNREADABLE),
    "gzip": (zipped(BODY), ANSWERED),
    "gzip that is none": (answers(b"nope", lines=[*JSON, "content-encoding: gzip"]), UNREADABLE),
    "gzip cut short": (answers(b"\x1f\x8b\x08\0\0\0\0\0\0\x03", lines=[*JSON, "content-encoding: gzip"]), UNREADABLE),
    "an unknown encoding": (answers(b"\0\1\2", lines=[*JSON, "content-encoding: x-new"]), UNREADABLE),
}
LARGE = {
    "a gzip bomb": (bombs(2 * BOUND_BYTES), UNREADABLE),
    "100 MB": (floods(head(200, [*JSON, "content-length: 104857600"]), 104_857_600), UNREADABLE),
    "100 MB in chunks": (floods(CHUNKED, 104_857_600, chunk(b" " * 65_536)), UNREADABLE),
    "100 MB until the end": (floods(head(200, [*JSON, "connection: close"]), 104_857_600), UNREADABLE),
}
FRAMES = {
    "nothing": (half_closes(), failed(None)),
    "a reset": (resets(), failed(None)),
    "half a head": (sends(b"HTTP/1.1 200 O"), failed(None)),
    "a head and a reset": (resets(head(200, [*JSON, "content-length: 9"])), UNREADABLE),
    "half a body and a reset": (resets(head(200, [*JSON, "content-length: 9"]) + b"{"), UNREADABLE),
    "half a body": (sends(head(200, [*JSON, "content-length: 9"]) + b"{"), UNREADABLE),
    "a length too long": (sends(head(200, [*JSON, "content-length: 9"]) + b"{}"), UNREADABLE),
    "a length too short": (sends(head(200, [*JSON, "content-length: 5"]) + BODY), UNREADABLE),
    "a length that is no number": (sends(head(200, [*JSON, "content-length: many"]) + BODY), failed(None)),
    "a negative length": (sends(head(200, [*JSON, "content-length: -2"]) + BODY), failed(None)),
    "two lengths": (sends(head(200, [*JSON, "content-length: 2", "content-length: 30"]) + BODY), failed(None)),
    "no length": (sends(head(200, [*JSON]) + BODY), ANSWERED),
    "HTTP/1.0": (sends(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + BODY), ANSWERED),
    "a half-closed connection": (half_closes(whole(BODY)), ANSWERED),
    "a reset after the answer": (resets(whole(BODY)), ANSWERED),
    "two answers in one": (sends(whole(BODY) + whole(b'{"stolen":1}'), is_kept=True), ANSWERED),
    "an answer and garbage": (sends(whole(BODY) + b"\0garbage", is_kept=True), ANSWERED),
    "good chunks": (sends(CHUNKED + chunk(BODY[:5]) + chunk(BODY[5:]) + chunk(b""), is_kept=True), ANSWERED),
    "chunks with a bad size": (sends(CHUNKED + b"zz\r\n" + BODY), UNREADABLE),
    "chunks without an end": (sends(CHUNKED + chunk(BODY)), UNREADABLE),
    "a chunk shorter than its size": (sends(CHUNKED + b"ff\r\n" + BODY), UNREADABLE),
    "a chunk longer than its size": (sends(CHUNKED + b"2\r\n" + BODY + b"\r\n0\r\n\r\n"), UNREADABLE),
    "a chunk of an endless size": (sends(CHUNKED + b"f" * 40 + b"\r\n" + BODY), UNREADABLE),
    "a hundred times continue": (sends(b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + whole(BODY)), ANSWERED),
    "early hints": (sends(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + whole(BODY)), ANSWERED),
    "SSH": (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), failed(None)),
    "zeros": (sends(b"\0" * 10_000), failed(None)),
    "a header of 1 MB": (
        sends(head(200, [*JSON, "x-long: " + "x" * 1_000_000, "content-length: 2"]) + b"{}"),
        failed(None),
    ),
    "20,000 headers": (sends(head(200, [*JSON, *["x-more: 1"] * 20_000, "content-length: 2"]) + b"{}"), failed(None)),
    "a status of two digits": (sends(b"HTTP/1.1 20 OK\r\n\r\n"), failed(None)),
}


#: aiohttp reads head and body of one packet together: what is wrong with the body is wrong with all of it.
OF_AIOHTTP = dict.fromkeys(
    (
        "a length too short",
        "an answer and garbage",
        "chunks with a bad size",
        "a chunk longer than its size",
        "a chunk of an endless size",
    ),
    failed(None),
)


@pytest.mark.parametrize("kind", SPEAKERS)
@pytest.mark.parametrize("name", STATUSES)
async def test_each_status_has_its_end_and_its_count(tmp_path: Path, kind: TargetType, name: str) -> None:
    await _meet_twice(tmp_path, kind, *STATUSES[name])


@pytest.mark.parametrize("kind", SPEAKERS)
@pytest.mark.parametrize("name", BODIES)
async def test_each_body_has_its_end_and_its_count(tmp_path: Path, kind: TargetType, name: str) -> None:
    await _meet_twice(tmp_path, kind, *BODIES[name])


@pytest.mark.parametrize("library", HttpLibrary)
@pytest.mark.parametrize("name", LARGE)
async def test_an_answer_beyond_the_bound_is_broken_off(tmp_path: Path, library: HttpLibrary, name: str) -> None:
    fault, expected = LARGE[name]
    async with wired(tmp_path, {"t": TargetType.OPENAI}, library=library) as wire:
        wire.server.misbehave(fault)
        [job] = await wire.ended(job_id := await wire.submit(max_attempts=1))
        assert job.error is not None
        assert (job.error.code, job.attempts_used, job.attempts[0].status_code) == (expected.code, 1, 200)
        assert "longer than" in job.error.message
        await wire.is_well(job_id)


@pytest.mark.parametrize("library", HttpLibrary)
@pytest.mark.parametrize("name", FRAMES)
async def test_each_slip_of_the_protocol_has_its_end_and_its_count(
    tmp_path: Path, library: HttpLibrary, name: str
) -> None:
    fault, expected = FRAMES[name]
    if library is HttpLibrary.AIOHTTP:
        expected = OF_AIOHTTP.get(name, expected)
    await _meet_twice(tmp_path, TargetType.OPENAI, fault, expected, library=library)


async def _meet_twice(
    folder: Path, kind: TargetType, fault: Behaviour, expected: Expected, *, library: HttpLibrary = DEFAULT_LIBRARY
) -> None:
    async with wired(folder, {"t": kind}, library=library) as wire:
        wire.server.misbehave(fault, fault)
        job_id = await wire.submit(max_attempts=MAX_ATTEMPTS)
        [job] = await wire.ended(job_id)
        _is_as_expected(job, expected)
        assert wire.server.calls(job_id) == len(job.attempts)
        await wire.is_well(job_id)


def _is_as_expected(job: Job, expected: Expected) -> None:
    first = job.attempts[0]
    assert (first.outcome, first.status_code) == (expected.outcome, expected.status_code), first.error
    if expected.outcome is Outcome.SUCCEEDED:
        assert (job.status, len(job.attempts), job.attempts_used) == (Status.SUCCEEDED, 1, 0)
        return
    assert all(is_plain(one.error) for one in job.attempts if one.outcome is not Outcome.SUCCEEDED), first.error
    if not expected.is_counted:
        assert (job.status, len(job.attempts), job.attempts_used) == (Status.SUCCEEDED, MAX_ATTEMPTS + 1, 0)
        return
    assert job.error is not None
    assert is_plain(job.error.message), job.error
    assert (job.status, job.error.code) == (Status.FAILED, expected.code)
    used = 0 if expected.is_final else MAX_ATTEMPTS
    assert (len(job.attempts), job.attempts_used) == (used or 1, used)
