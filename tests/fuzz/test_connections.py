"""Raw bytes on the server's sockets: slow, endless, cut, pipelined, or no HTTP at all. The server answers on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.api.protocol import Protocol
from tests.fuzz.strategies import DAMAGE, damaged, fuzz
from tests.integration.api_server import CHAT, Server, running_server

HOST = b"Host: localhost\r\n"
PATIENCE_SECONDS = 120.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as opened:
        yield opened


async def connect(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = server.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def exchange(server: Server, *pieces: bytes) -> bytes:
    """Sends the pieces and reads until the server closes the connection."""
    reader, writer = await connect(server)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def first_reply(server: Server, request: bytes) -> bytes:
    """Sends all there is, and reads what is answered to it at first."""
    reader, writer = await connect(server)
    try:
        writer.write(request)
        writer.write_eof()
        return await reader.read(64 * 1024)
    except OSError:  # the server had refused it and closed the connection
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def status_of(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


async def test_a_head_that_comes_too_slowly_is_answered_with_408(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits={"head_timeout_seconds": 0.05}) as server:
        for start in (b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nX: "):
            reply = await exchange(server, start)
            assert status_of(reply) == 408
            assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


async def test_a_body_that_stops_is_answered_with_408_and_makes_no_job(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits={"body_timeout_seconds": 0.05}) as server:
        for path, read in (
            (b"/v1/jobs", lambda body: body["error"]["code"]),
            (b"/graphql", lambda body: body["errors"][0]["extensions"]["code"]),
            (b"/v1/messages", lambda body: body["error"]["code"] if body["type"] == "error" else None),
        ):
            head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
            reply = await exchange(server, head + b"Content-Length: 100\r\n\r\n", b'{"body"')
            assert status_of(reply) == 408
            assert read(json.loads(reply.partition(b"\r\n\r\n")[2])) == "request_timeout"
        assert (await server.get("/v1/jobs"))["data"] == []


async def test_a_body_that_trickles_is_ended_and_one_that_flows_is_not(tmp_path: Path) -> None:
    limits = {"body_timeout_seconds": 0.2, "min_upload_rate_bytes": 1000}
    async with running_server(tmp_path, limits=limits) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n")
        trickling = asyncio.create_task(trickle(writer))
        async with asyncio.timeout(PATIENCE_SECONDS):  # not to the end: what came after the answer may reset it
            assert status_of(await reader.readuntil(b"\r\n\r\n")) == 408
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        writer.close()


OPENING = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING = b"\x81\x92\0\0\0\0" + b'{"action": "ping"}'


@contextlib.asynccontextmanager
async def opened_socket(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket whose client is known, and may send large messages."""
    reader, writer = await connect(server)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(OPENING)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(PING)
            await reader.readuntil(b"}")
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def closed_with(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS):
        frame = await reader.readexactly(4)
    assert frame[0] == 0x88
    return int.from_bytes(frame[2:4], "big")


async def test_a_message_that_stops_closes_its_socket_and_an_idle_socket_stays(tmp_path: Path) -> None:
    async with (
        running_server(tmp_path, limits={"body_timeout_seconds": 0.1}) as server,
        opened_socket(server) as (idle, asking),
    ):
        for start in (
            b"\x81\xff" + (500_000).to_bytes(8, "big") + b"\0\0\0\0" + b" " * 50,
            b"\x01\x81\0\0\0\0 ",  # a frame that says that more will come
        ):
            async with opened_socket(server) as (reader, writer):
                writer.write(start)
                assert await closed_with(reader) == 1013
        asking.write(PING)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b"pong" in await idle.readuntil(b"}")


async def test_unfinished_messages_share_the_room_of_bodies(tmp_path: Path) -> None:
    async with (
        running_server(tmp_path, limits={"max_bodies_bytes": 500_000}) as server,
        opened_socket(server) as (first, one),
        opened_socket(server) as (second, other),
    ):
        for writer in (one, other):
            writer.write(b"\x81\xff" + (900_000).to_bytes(8, "big") + b"\0\0\0\0" + b" " * 400_000)
        closing = [asyncio.create_task(closed_with(reader)) for reader in (first, second)]
        done, left = await asyncio.wait(closing, return_when=asyncio.FIRST_COMPLETED)
        assert {closed.result() for closed in done} == {1013}
        for waiting in left:
            waiting.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def test_a_message_of_endless_frames_is_refused(server: Server) -> None:
    async with opened_socket(server) as (reader, writer):
        writer.write(b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 2000)
        assert await closed_with(reader) == 1013


async def trickle(writer: asyncio.StreamWriter) -> None:
    """A byte at each turn of the clock, for ever."""
    while True:
        writer.write(b" ")
        await asyncio.sleep(0.02)


async def test_an_address_and_headers_are_bounded_even_where_they_come_at_once(tmp_path: Path) -> None:
    limits = {"max_url_bytes": 100, "max_head_bytes": 1000, "max_headers": 8}
    async with running_server(tmp_path, limits=limits) as server:
        many = b"".join(b"X-%d: y\r\n" % number for number in range(9))
        for head, status in (
            (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\n" + HOST, 414),
            (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 1000 + b"\r\n", 431),
            (b"GET /livez HTTP/1.1\r\n" + HOST + many, 431),
            (b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: close\r\n", 200),
        ):
            reply = await exchange(server, head + b"\r\n")
            assert status_of(reply) == status
            body = json.loads(reply.partition(b"\r\n\r\n")[2])
            assert status == 200 or "setting `max_" in body["error"]["message"]


async def test_a_request_after_a_large_body_is_judged_by_its_own_head(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits={"max_head_bytes": 1000}) as server:
        body = json.dumps({"body": {**CHAT, "x": "y" * 500_000}}).encode()
        for _ in range(3):
            await server.post("/v1/jobs", 202, data=body)


async def test_unfinished_bodies_hold_no_more_than_their_room(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits={"max_bodies_bytes": 1_000_000}) as server:
        head = b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: 900000\r\n\r\n"
        waiting = [await connect(server) for _ in range(4)]
        answers = [asyncio.create_task(reader.read(20)) for reader, _ in waiting]
        for _, writer in waiting:
            writer.write(head + b" " * 600_000)
        async with asyncio.timeout(PATIENCE_SECONDS):
            done, left = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
            while len(left) > 1:
                more, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                done |= more
        assert [status_of(one.result()) for one in done] == [503] * 3
        await server.submit()  # small ones are taken meanwhile
        for _, writer in waiting:
            writer.close()
        await asyncio.gather(*left, return_exceptions=True)
        large = json.dumps({"body": {**CHAT, "x": "y" * 900_000}}).encode()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await status_after(server, large)) == 503:  # until the last has let go
                pass


async def status_after(server: Server, data: bytes) -> int:
    async with server.http.post("/v1/jobs", data=data) as reply:
        return reply.status


async def test_json_may_nest_and_metadata_count_as_the_settings_say(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        bounds = replace(server.services.bounds, max_json_depth=4, max_metadata_pairs=2)
        object.__setattr__(server.services, "bounds", bounds)
        nested = {**CHAT, "a": [[[1]]]}
        assert (await server.post("/v1/jobs", 400, json={"body": {**CHAT, "a": [[[[1]]]]}}))["error"]["param"] == "body"
        await server.post("/v1/jobs", 202, json={"body": nested, "metadata": {"a": "1", "b": "2"}})
        refused = await server.post("/v1/jobs", 400, json={"body": nested, "metadata": dict.fromkeys("abc", "1")})
        assert "max_metadata_pairs" in refused["error"]["message"]


async def test_a_bulk_request_has_no_more_lines_than_a_batch(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits={"max_batch_lines": 3}) as server:
        line = json.dumps({"body": CHAT}).encode() + b"\n"
        async with server.http.post("/v1/jobs/bulk", data=line * 10) as reply:
            replies = [json.loads(one) for one in (await reply.text()).splitlines()]
        assert [one.get("status") for one in replies] == ["queued"] * 3 + [None]
        assert replies[3]["error"]["code"] == "too_many_lines"


async def test_an_endless_head_is_refused_before_it_is_held(server: Server) -> None:
    endless = [b"X-%d: y\r\n" % number for number in range(100_000)]
    reply = await exchange(server, b"GET /livez HTTP/1.1\r\n" + HOST, *endless)
    assert not reply or status_of(reply) == 431
    reply = await exchange(server, b"GET /", *[b"a" * 10_000] * 100)
    assert not reply or status_of(reply) == 431
    await server.get("/livez")


REFUSED = b"POST /v1/jobs HTTP/1.1\r\nHost: another.example\r\n"  # answered before its body has come


async def test_endless_trailers_and_extensions_of_chunks_are_refused_and_not_held(server: Server) -> None:
    trailers = [b"".join(b"X-%d: y\r\n" % number for number in range(100))] * 1000
    for end in (b"2\r\n{}\r\n0\r\n", b"2;"):
        for head in (b"POST /v1/jobs HTTP/1.1\r\n" + HOST, REFUSED):
            reply = await exchange(server, head + b"Transfer-Encoding: chunked\r\n\r\n" + end, *trailers)
            assert not reply or status_of(reply) in {431, 403}
    await server.get("/livez")


async def test_a_trailer_is_no_header(server: Server) -> None:
    body = json.dumps({"body": CHAT}).encode()
    head = b"POST /v1/jobs HTTP/1.1\r\nConnection: close\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    ids = set()
    for _ in range(2):
        pieces = (b"%x\r\n%s\r\n" % (len(body), body), b"0\r\nIdempotency-Key: k\r\n\r\n")
        reply = await exchange(server, head, *pieces)
        assert status_of(reply) == 202
        ids.add(json.loads(reply.partition(b"\r\n\r\n")[2])["id"])
    assert len(ids) == 2


@pytest.mark.parametrize("start", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1\r\n"])
async def test_a_body_that_stops_after_its_answer_does_not_keep_its_connection(tmp_path: Path, start: bytes) -> None:
    async with running_server(tmp_path, limits={"body_timeout_seconds": 0.05}) as server:
        reader, writer = await connect(server)
        writer.write(REFUSED + start)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert status_of(await reader.readuntil(b"}}")) == 403
            writer.write(b"x")
            assert await reader.read() == b""
        writer.close()


async def test_line_ends_between_requests_do_not_keep_a_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = await connect(server)
    writer.write(b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert status_of(await reader.readuntil(b"}")) == 200
        monkeypatch.setattr(Protocol, "timeout_keep_alive", property(lambda _: 0.05, lambda *_: None), raising=False)
        writer.write(b"\r\n")
        assert await reader.read() == b""
    writer.close()


async def test_what_is_no_http_is_refused_in_our_own_envelope(server: Server) -> None:
    for noise in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"BREW / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ):
        reply = await exchange(server, noise)
        assert status_of(reply) == 400
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    asked = [b"GET /v1/jobs/%d HTTP/1.1\r\n%s%s\r\n" % (n, HOST, b"Connection: close\r\n" * (n == 4)) for n in range(5)]
    reply = (await exchange(server, b"".join(asked))).decode()
    places = [reply.index(f"There is no job '{number}'") for number in range(5)]
    assert places == sorted(places)


async def test_a_client_of_http_1_0_is_answered(server: Server) -> None:
    reply = await exchange(server, b"GET /livez HTTP/1.0\r\n" + HOST + b"\r\n")
    assert status_of(reply) == 200


async def test_a_body_larger_than_the_limit_is_refused_unread(server: Server) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nConnection: close\r\n" + HOST + b"Content-Length: 2000000\r\n\r\n"
    assert status_of(await exchange(server, head)) == 413
    chunked = b"POST /v1/jobs HTTP/1.1\r\nConnection: close\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    reply = await exchange(server, chunked, b"1e8480\r\n", b"x" * 1_500_000)
    assert not reply or status_of(reply) == 413  # what was sent meanwhile may reset the connection


@pytest.mark.parametrize(
    "path", ["/v1/jobs/%00", "/v1/models/a%00b", "/v1/jobs?after=%00", "/v1/files?purpose=a%00", "/%00"]
)
async def test_a_nul_in_an_address_is_refused(server: Server, path: str) -> None:
    reply = await exchange(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert status_of(reply) == 400


@pytest.mark.parametrize(
    "path", ["/v1/../etc/passwd", "/v1/%2e%2e/x", "/v1/a/..%2f..%2fx", "//v1/x", "/v1/jobs/x/../y"]
)
async def test_a_path_that_climbs_is_no_model_endpoint(server: Server, path: str) -> None:
    body = b'{"model": "gpt-model"}'
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    assert status_of(await exchange(server, head + body)) in {400, 404}


async def test_the_media_type_of_an_upload_is_any_text(server: Server) -> None:
    for odd in ("тип".encode(), b"text/\xff", b"a;b\tc"):
        body = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\n'
        body += b'Content-Disposition: form-data; name="file"; filename="\xff"\r\n'
        body += b"Content-Type: " + odd + b"\r\n\r\nx\r\n--x--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        file = await server.post("/v1/files", data=body, headers=headers)
        async with server.http.get(f"/v1/files/{file['id']}/content") as reply:
            assert (reply.status, await reply.read()) == (200, b"x")


REQUESTS = st.sampled_from(
    [
        b"GET /v1/jobs?limit=5&metadata[a]=b HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
        b'POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33\r\n\r\n{"body": {"model": "gpt-model"}}\n',
        b"POST /v1/jobs/bulk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\n{}\r\n0\r\n\r\n",
        b"DELETE /v1/jobs/x HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\nPrefer: wait=5\r\n\r\n",
        b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b'Content-Length: 78\r\n\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n--x--',
    ]
)


async def test_no_bytes_on_a_connection_are_answered_with_a_server_error(server: Server) -> None:
    found: list[bytes] = []

    @fuzz(150)
    @given(damaged(REQUESTS, most=3) | st.lists(DAMAGE).map(b"".join))
    def gather(request: bytes) -> None:
        found.append(request)

    gather()
    for request in found:
        reply = await first_reply(server, request)
        assert not reply.startswith(b"HTTP/1.1 5"), (request, reply)
    await server.get("/livez")
