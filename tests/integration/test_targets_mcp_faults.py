"""Targets of type ``mcp`` against HTTP servers that say exactly what a test has them say."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from forebay.domain.errors import (
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.inference import Call
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.extras import open_tool
from forebay.targets.mcp_tool import McpTarget

from .raw_servers import end_of, raw_server, request_of, reset

Answer = Callable[[dict[str, Any]], Any]  # of a request to what is answered: a result, bytes, or one of these
HANGS, RESETS = object(), object()
RESULT = {"content": [{"type": "text", "text": "ok"}], "isError": False}
KEY = "k-0123456789"


def raw(status: str, body: bytes = b"", *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body


class Server:
    """A server of the protocol of 2025, with sessions. ``answers``: what comes of ``tools/call``, one by one."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.methods: list[str] = []
        self.sessions: set[str] = set()
        self.opened = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _, body = (await request_of(reader)).partition(b"\r\n\r\n")
            if not body:  # GET for a stream, DELETE of a session
                writer.write(raw("405 Method Not Allowed"))
                continue
            request = json.loads(body)
            self.methods.append(request["method"])
            answer = self._answer(request, head.decode().lower())
            if answer is HANGS:
                await end_of(reader)
                return
            if answer is RESETS:
                reset(writer)
                return
            writer.write(answer)

    def _answer(self, request: dict[str, Any], head: str) -> Any:
        match request["method"]:
            case "server/discover":
                return self._reply(request, error={"code": -32601, "message": "Method not found"})
            case "initialize":
                self.opened += 1
                self.sessions.add(f"s{self.opened}")
                info = {"name": "Raw", "version": "1"}
                result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
                return self._reply(request, f"mcp-session-id: s{self.opened}", result=result)
            case "notifications/initialized" | "notifications/cancelled":
                return raw("202 Accepted")
            case "tools/list":
                return self._reply(request, result={"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})
        if not any(f"mcp-session-id: {session}" in head for session in self.sessions):
            return raw("404 Not Found", b"{}", "content-type: application/json")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, dict):
            return self._reply(request, **({"error": answer["error"]} if "error" in answer else {"result": answer}))
        return answer

    def _reply(self, request: dict[str, Any], *lines: str, **outcome: Any) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", "id": request["id"], **outcome}).encode()
        return raw("200 OK", body, "content-type: application/json", *lines)


@asynccontextmanager
async def opened(*answers: Any) -> AsyncIterator[tuple[Server, McpTarget]]:
    server = Server(*answers)
    async with raw_server(server.serve) as port:
        spec = TargetSpec(name="tools", type=TargetType.MCP, url=f"http://127.0.0.1:{port}/mcp", api_key=KEY, tool="t")
        target = open_tool(spec)
        assert isinstance(target, McpTarget)
        try:
            yield server, target
        finally:
            await target.close()


def call_of(timeout_seconds: float = 60) -> Call:
    return Call(job_id="job_7", attempt=1, endpoint="", body=b"{}", timeout_seconds=timeout_seconds)


async def test_a_server_of_the_earlier_protocol_is_spoken_to_in_it() -> None:
    async with opened(RESULT) as (server, target):
        assert json.loads((await target.call(call_of())).body) == RESULT
        await target.call(call_of())
        assert server.opened == 1
        assert await target.check() == "tools: Raw, 1 tool (t)"


async def test_a_session_that_the_server_has_lost_is_opened_again_and_the_call_begins_there() -> None:
    async with opened(RESULT) as (server, target):
        await target.call(call_of())
        server.sessions.clear()  # it was started again
        assert json.loads((await target.call(call_of())).body) == RESULT
        assert server.opened == 2


async def test_a_server_that_keeps_no_session_is_unavailable() -> None:
    async with opened(raw("404 Not Found", b"{}", "content-type: application/json")) as (server, target):
        with pytest.raises(TargetUnavailable, match="does not keep its sessions"):
            await target.call(call_of())
        assert server.methods.count("tools/call") == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (raw("500 Internal Server Error"), TargetFailed),
        (raw("503 Service Unavailable"), TargetUnavailable),
        (raw("429 Too Many Requests", b"", "retry-after: 7"), TargetThrottled),
        (raw("403 Forbidden"), TargetRejected),
        (raw("302 Found", b"", "location: http://127.0.0.1:9/steal"), TargetRejected),
        (raw("200 OK", b"<html>", "content-type: text/html"), TargetRejected),
        (raw("200 OK", b'{"jsonrpc"', "content-type: application/json"), TargetFailed),
        (raw("200 OK", b"data: {\n\n", "content-type: text/event-stream"), TargetFailed),
        (raw("200 OK", b"", "content-type: text/event-stream"), TargetFailed),
        ({"error": {"code": -32602, "message": "Invalid params"}}, TargetRejected),
        ({"error": {"code": -32601, "message": "Method not found"}}, TargetRejected),
        ({"error": {"code": -32603, "message": f"Internal error with {KEY}"}}, TargetFailed),
        ({"content": "no list"}, TargetFailed),
        ({"content": [{"type": "image", "data": "!", "mimeType": "image/png"}]}, TargetFailed),
        (RESETS, TargetFailed),
    ],
)
async def test_every_trouble_of_a_call_is_judged_as_every_targets_and_leaves_the_session(
    answer: Any, error: type[TargetError]
) -> None:
    async with opened(answer, RESULT) as (server, target):
        with pytest.raises(error) as caught:
            await target.call(call_of())
        assert type(caught.value) is error
        assert KEY not in caught.value.message
        assert json.loads((await target.call(call_of())).body) == RESULT
        assert server.opened == 1
    if error is TargetThrottled:
        assert caught.value.retry_after == 7


async def test_an_answer_beyond_the_limit_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.targets.mcp_http.MAX_ANSWER_BYTES", 1000)
    large = {"content": [{"type": "text", "text": "x" * 2000}]}
    async with opened(large, RESULT) as (_, target):
        with pytest.raises(TargetFailed, match="longer than 1000 bytes"):
            await target.call(call_of())
        await target.call(call_of())


async def test_one_broken_connection_ends_no_other_call() -> None:
    async with opened(HANGS, RESETS, RESULT) as (server, target):
        hanging = asyncio.create_task(target.call(call_of()))
        while "tools/call" not in server.methods:
            await asyncio.sleep(0.001)
        with pytest.raises(TargetFailed):
            await target.call(call_of())
        assert json.loads((await target.call(call_of())).body) == RESULT
        assert not hanging.done()
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


async def test_a_call_that_hangs_ends_with_its_time_and_is_cancelled() -> None:
    async with opened(HANGS, RESULT) as (server, target):
        await target.check()
        while "tools/call" not in server.methods:
            with pytest.raises(TargetTimeout):
                await target.call(call_of(0.5))
        while "notifications/cancelled" not in server.methods:
            await asyncio.sleep(0.001)
        await target.call(call_of())


@pytest.mark.parametrize(
    ("status", "error"),
    [("401 Unauthorized", TargetRejected), ("404 Not Found", TargetRejected), ("503 Busy", TargetUnavailable)],
)
async def test_a_handshake_that_is_refused_is_judged_by_its_status(status: str, error: type[TargetError]) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            writer.write(raw(status))

    async with raw_server(refuse) as port:
        target = open_tool(TargetSpec(name="tools", type=TargetType.MCP, url=f"http://127.0.0.1:{port}/", tool="t"))
        try:
            for _ in range(2):
                with pytest.raises(error, match=status[:3]):
                    await target.call(call_of())
        finally:
            await target.close()


async def test_a_handshake_that_hangs_is_given_up_and_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.targets.mcp_session.OPENING_SECONDS", 0.3)
    connections = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await end_of(reader)

    async with raw_server(silent) as port:
        target = open_tool(TargetSpec(name="tools", type=TargetType.MCP, url=f"http://127.0.0.1:{port}/", tool="t"))
        try:
            for expected in (1, 2):
                with pytest.raises(TargetUnavailable, match="no handshake within"):
                    await target.call(call_of())
                assert connections == expected
        finally:
            await target.close()


async def test_a_server_that_never_answers_the_handshake_ends_with_the_calls_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await end_of(reader)

    async with raw_server(silent) as port:
        target = open_tool(TargetSpec(name="tools", type=TargetType.MCP, url=f"http://127.0.0.1:{port}/", tool="t"))
        try:
            with pytest.raises(TargetTimeout):
                await target.call(call_of(0.5))
        finally:
            await target.close()
