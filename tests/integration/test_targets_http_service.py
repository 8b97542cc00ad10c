"""Targets of type ``http``: the headers they send, and polling of what was accepted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from forebay.domain.content import BlobInfo
from forebay.domain.errors import ConfigurationError, RemoteFailed, TargetError, TargetFailed, TargetRejected
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.build import build_target
from forebay.targets.clients import open_http
from forebay.targets.http_service import HttpServiceTarget

from .raw_servers import raw_server

Answer = Callable[[str], bytes]


def reply(status: str, body: bytes = b"", *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body


class Service:
    """A service that answers its requests one after the other as scripted, the last answer again and again."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.heads: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length:")[2].partition("\r\n")[0] or 0)
                await reader.readexactly(length)
                self.heads.append(head)
                writer.write(self._answers[min(len(self.heads), len(self._answers)) - 1])
        except (asyncio.IncompleteReadError, ConnectionError):
            return


@asynccontextmanager
async def running(*answers: bytes) -> AsyncIterator[tuple[Service, HttpServiceTarget]]:
    service = Service(*answers)
    http = open_http()
    async with raw_server(service.serve) as port:
        service.url = f"http://127.0.0.1:{port}/critic"
        target = build_target(TargetSpec(name="critic", type=TargetType.HTTP, url=service.url, api_key="k"), http)
        assert isinstance(target, HttpServiceTarget)
        yield service, target
        await http.close()


def call_of(timeout_seconds: float = 60) -> Call:
    return Call(job_id="job_7", attempt=3, endpoint="", body=b'{"a":1}', timeout_seconds=timeout_seconds)


JSON = "content-type: application/json"
ACCEPTED = reply("202 Accepted", b"", "location: /critic/7", "retry-after-ms: 1")


async def test_the_job_is_named_in_the_headers_equal_on_every_attempt() -> None:
    async with running(reply("200 OK", b'{"ok": true}', JSON)) as (service, target):
        result = await target.call(call_of())
    assert result.body == b'{"ok": true}'
    head = service.heads[0].lower()
    assert head.startswith("post /critic http/1.1")
    expected = ["forebay-job-id: job_7", "forebay-attempt: 3", "idempotency-key: job_7", "authorization: bearer k"]
    assert all(f"\r\n{line}\r\n" in head for line in expected)


async def test_how_many_events_led_to_the_job_is_told() -> None:
    async with running(reply("200 OK", b"[]", JSON), reply("200 OK", b"[]", JSON)) as (service, target):
        await target.call(msgspec.structs.replace(call_of(), hops=3))
        await target.call(call_of())
    assert "\r\nforebay-hops: 3\r\n" in service.heads[0].lower()
    assert "forebay-hops" not in service.heads[1].lower()


async def ended(target: HttpServiceTarget, call: Call) -> InferenceResult:
    """The answer to a call, asked for again and again, without the pauses."""
    result = await target.call(call)
    while result.pending is not None:
        result = await target.call(msgspec.structs.replace(call, body=b"", pending=result.pending.state))
    return result


async def test_what_was_accepted_is_polled_until_it_is_there() -> None:
    busy = reply("202 Accepted", b"", "retry-after-ms: 1")
    async with running(ACCEPTED, busy, reply("200 OK", b"[1]", JSON)) as (service, target):
        result = await ended(target, call_of())
    assert result.body == b"[1]"
    assert [head.split(" HTTP")[0] for head in service.heads] == ["POST /critic", "GET /critic/7", "GET /critic/7"]


async def test_what_was_accepted_is_asked_for_when_the_service_says_else_after_longer_and_longer_pauses() -> None:
    accepted = reply("202 Accepted", b"", "location: /critic/7")
    waits = [reply("202 Accepted"), reply("202 Accepted", b"", "retry-after: 30"), reply("202 Accepted")]
    async with running(accepted, *waits) as (_, target):
        pauses, call = [], call_of()
        for _ in range(4):
            pending = (await target.call(call)).pending
            assert pending is not None
            pauses.append(pending.after_seconds)
            call = msgspec.structs.replace(call, pending=pending.state)
    assert pauses == [0.5, 0.75, 30.0, 0.5 * 1.5**3]


@pytest.mark.parametrize("status", ["503 Service Unavailable", "502 Bad Gateway", "429 Too Many Requests"])
async def test_a_passing_fault_while_polling_says_nothing_of_the_work(status: str) -> None:
    async with running(ACCEPTED, reply(status, b"", "retry-after-ms: 1")) as (service, target):
        with pytest.raises(TargetError) as caught:
            await ended(target, call_of())
    assert not isinstance(caught.value, RemoteFailed | TargetRejected)
    assert sum(head.startswith("POST") for head in service.heads) == 1


@pytest.mark.parametrize("status", ["500 Internal Server Error", "404 Not Found", "410 Gone"])
async def test_what_failed_or_is_lost_there_has_ended(status: str) -> None:
    async with running(ACCEPTED, reply(status)) as (_, target):
        with pytest.raises(RemoteFailed):
            await ended(target, call_of())


async def test_a_see_other_leads_to_the_result_at_once() -> None:
    other = reply("303 See Other", b"", "location: /critic/7/result")
    async with running(ACCEPTED, other, reply("200 OK", b"[2]", JSON)) as (service, target):
        result = await ended(target, call_of())
    assert result.body == b"[2]"
    assert service.heads[-1].startswith("GET /critic/7/result ")


async def test_a_result_that_is_a_file_is_written_as_it_comes() -> None:
    kept: list[bytes] = []

    async def keep(chunks: AsyncIterator[bytes]) -> BlobInfo:
        kept.extend([chunk async for chunk in chunks])
        return BlobInfo(id="blob_1", bytes=len(b"".join(kept)), sha256="")

    async with running(ACCEPTED, reply("200 OK", b"film" * 1000, "content-type: video/mp4")) as (_, target):
        result = await ended(target, msgspec.structs.replace(call_of(), keep=keep))
    assert (result.body, result.content_type, result.file) == (
        b"",
        "video/mp4",
        BlobInfo(id="blob_1", bytes=4000, sha256=""),
    )
    assert b"".join(kept) == b"film" * 1000


@pytest.mark.parametrize("status", ["204 No Content", "404 Not Found", "405 Method Not Allowed"])
async def test_what_is_not_wanted_any_more_is_deleted_where_that_is_known(status: str) -> None:
    async with running(ACCEPTED, reply(status)) as (service, target):
        pending = (await target.call(call_of())).pending
        assert pending is not None
        await target.withdraw(pending.state)
    assert service.heads[-1].startswith("DELETE /critic/7 ")


async def test_a_location_of_another_origin_is_refused() -> None:
    elsewhere = reply("202 Accepted", b"", "location: http://127.0.0.1:1/steal")
    async with running(elsewhere) as (service, target):
        with pytest.raises(TargetRejected, match="another origin"):
            await target.call(call_of())
    assert len(service.heads) == 1


@pytest.mark.parametrize(
    ("answer", "content_type", "body"),
    [
        (reply("202 Accepted", b"{}", JSON), "application/json", b"{}"),
        (reply("201 Created", b"text", "content-type: text/plain; charset=utf-8"), "text/plain", b"text"),
        (reply("200 OK", b"\x89PNG", "content-type: image/png"), "image/png", b"\x89PNG"),
        (reply("204 No Content"), "application/json", b"null"),
    ],
)
async def test_any_2xx_is_the_result(answer: bytes, content_type: str, body: bytes) -> None:
    async with running(answer) as (_, target):
        result = await target.call(call_of())
    assert (result.content_type, result.body) == (content_type, body)


async def test_json_that_is_none_is_a_failed_attempt() -> None:
    async with running(reply("200 OK", b'{"a":', JSON)) as (_, target):
        with pytest.raises(TargetFailed):
            await target.call(call_of())


async def test_check_says_that_it_is_there() -> None:
    async with running(reply("405 Method Not Allowed")) as (_, target):
        assert await target.check() == "critic: reachable (a GET is answered 405)"


@pytest.mark.parametrize("url", [None, "ftp://x/y", "critic", "http://user:secret@host/"])
def test_a_bad_address_is_refused_when_it_is_built(url: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_target(TargetSpec(name="critic", type=TargetType.HTTP, url=url), open_http())
    assert "targets.critic" in str(caught.value)
    assert "secret" not in str(caught.value)
