"""``jobUpdates`` over ``graphql-transport-ws``: the public client ``gql``, and the protocol message by message."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gql import Client, GraphQLRequest
from gql.transport.websockets import WebsocketsTransport

from forebay.api.graphql import sockets, updates
from forebay.api.websocket import sending as websocket_sending
from tests.integration.api_server import CHAT, PATIENCE_SECONDS, Server, running_server

UPDATES = """subscription ($ids: [ID!]!) { jobUpdates(ids: $ids) {
  id status result { statusCode body } error { code } attempts { number } } }"""
PROTOCOL = "graphql-transport-ws"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as opened:
        yield opened


def watching(*ids: str, query: str = UPDATES) -> dict[str, Any]:
    payload = {"query": query, "variables": {"ids": list(ids)}}
    return {"type": "subscribe", "id": "1", "payload": payload}


def running(query: str, name: str) -> dict[str, Any]:
    return {"type": "subscribe", "id": "1", "payload": {"query": query, "operationName": name}}


@asynccontextmanager
async def opened(server: Server, init: Any = None, **options: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A socket on which `connection_init` was answered."""
    async with server.http.ws_connect("/graphql", protocols=(PROTOCOL,), **options) as wire:
        assert wire.protocol == PROTOCOL
        await wire.send_json({"type": "connection_init", **({} if init is None else {"payload": init})})
        assert await heard(wire) == {"type": "connection_ack"}
        yield wire


async def heard(wire: aiohttp.ClientWebSocketResponse) -> Any:
    return json.loads(await wire.receive_str(timeout=PATIENCE_SECONDS))


async def job_of(wire: aiohttp.ClientWebSocketResponse) -> Any:
    message = await heard(wire)
    assert message["type"] == "next", message
    return message["payload"]["data"]["jobUpdates"]


async def code_of_close(wire: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (message := await wire.receive()).type not in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
            assert message.type is aiohttp.WSMsgType.TEXT
    return wire.close_code


async def test_a_public_client_sees_each_job_end(server: Server) -> None:
    ids = [(await server.submit())["id"] for _ in range(3)]
    transport = WebsocketsTransport(url=server.url.replace("http", "ws") + "/graphql", subprotocols=[PROTOCOL])
    seen: list[tuple[str, str]] = []
    async with Client(transport=transport) as session, asyncio.timeout(PATIENCE_SECONDS):
        async for found in session.subscribe(GraphQLRequest(UPDATES, variable_values={"ids": ids})):
            job = found["jobUpdates"]
            seen.append((job["id"], job["status"]))
            if len(seen) == 3:
                await server.hand.succeed(await server.hand.take(), body='{"text": "done"}')
                await server.hand.fail(await server.hand.take())
                await server.hand.succeed(await server.hand.take())
            if job["id"] == ids[0] and job["status"] == "succeeded":
                assert job["result"] == {"statusCode": 200, "body": {"text": "done"}}
                assert job["attempts"] == [{"number": 1}]
    assert seen[:3] == [(job_id, "queued") for job_id in ids]
    ends = [(ids[0], "succeeded"), (ids[1], "failed"), (ids[2], "succeeded")]
    assert sorted(one for one in seen[3:] if one[1] != "running") == sorted(ends)


async def test_one_socket_submits_watches_and_asks(server: Server) -> None:
    async with opened(server) as wire:
        submit = 'mutation { submit(input: {body: {model: "gpt-model"}}) { id } }'
        await wire.send_json({"type": "subscribe", "id": "s", "payload": {"query": submit}})
        message = await heard(wire)
        job_id = message["payload"]["data"]["submit"]["id"]
        assert await heard(wire) == {"type": "complete", "id": "s"}
        await wire.send_json(watching(job_id))
        assert (await job_of(wire))["status"] == "queued"
        await server.hand.succeed(await server.hand.take())
        while (job := await job_of(wire))["status"] == "running":
            pass
        assert job["status"] == "succeeded"
        assert await heard(wire) == {"type": "complete", "id": "1"}


async def test_a_job_that_ended_while_the_client_was_away_is_told_when_it_watches_again(server: Server) -> None:
    job = await server.submit()
    async with opened(server) as wire:
        await wire.send_json(watching(job["id"]))
        assert (await job_of(wire))["status"] == "queued"
    await server.hand.succeed(await server.hand.take())
    async with opened(server) as wire:
        await wire.send_json(watching(job["id"]))
        assert (await job_of(wire))["status"] == "succeeded"
        assert (await heard(wire))["type"] == "complete"


async def test_an_unknown_id_is_an_error_of_its_own(server: Server) -> None:
    job = await server.submit()
    async with opened(server) as wire:
        await wire.send_json(watching("job_none", job["id"]))
        payload = (await heard(wire))["payload"]
        assert payload["data"] == {"jobUpdates": None}
        assert payload["errors"][0]["extensions"]["code"] == "not_found"
        assert (await job_of(wire))["id"] == job["id"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (watching(), "invalid_value"),
        (watching("job_\0"), "invalid_value"),
        (watching("x", query="subscription ($ids: [ID!]!) { jobUpdates(ids: $ids) { nothing } }"), None),
        (watching("x", query="subscription A { jobUpdates(ids: []) { id } job }"), None),
        (watching("x", query="{ broken " + "x" * 200), "graphql_parse_failed"),
        (watching("x", query=""), "graphql_parse_failed"),
        (watching("x", query="query A { __typename } query B { __typename }"), "graphql_validation_failed"),
        (running("query A { __typename }", "B"), "graphql_validation_failed"),
    ],
)
async def test_what_can_not_be_watched_is_an_error_and_the_socket_goes_on(
    server: Server, message: dict[str, Any], code: str | None
) -> None:
    async with opened(server) as wire:
        await wire.send_json(message)
        refused = await heard(wire)
        assert (refused["type"], refused["id"]) in {("error", "1"), ("next", "1")}
        [first, *_] = refused["payload"] if refused["type"] == "error" else refused["payload"]["errors"]
        assert first["extensions"]["code"] == code or code is None
        await wire.send_json({"type": "ping"})
        while (answer := await heard(wire))["type"] == "complete":
            pass
        assert answer == {"type": "pong"}


async def test_more_jobs_than_the_bound_are_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "MOST_WATCHED", 2)
    async with opened(server) as wire:
        await wire.send_json(watching("a", "b", "c"))
        assert "1 to 2 jobs" in json.dumps(await heard(wire))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", 4400),
        ("[]", 4400),
        ('{"type": "nonsense"}', 4400),
        ('{"type": "subscribe", "id": "1"}', 4400),
        ('{"type": "subscribe", "id": "1", "payload": {"query": 5}}', 4400),
        ('{"type": "subscribe", "id": "1", "payload": {"query": "{", "variables": []}}', 4400),
        ('{"type": "ping", "payload": ' + "[" * 100_000, 4400),
        ('{"type": "connection_init"}', 4429),
        (b"bytes", 4400),
    ],
    ids=range(9),
)
async def test_what_is_no_message_closes_the_socket(server: Server, said: str | bytes, code: int) -> None:
    async with opened(server) as wire:
        await (wire.send_bytes(said) if isinstance(said, bytes) else wire.send_str(said))
        assert await code_of_close(wire) == code


async def test_nothing_is_answered_before_connection_init(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server.http.ws_connect("/graphql", protocols=(PROTOCOL,)) as wire:
        await wire.send_json(watching("x"))
        assert await code_of_close(wire) == 4401
    monkeypatch.setattr(sockets, "INIT_SECONDS", 0.05)
    async with server.http.ws_connect("/graphql", protocols=(PROTOCOL,)) as wire:
        assert await code_of_close(wire) == 4408


async def test_an_id_in_use_is_refused_and_complete_frees_it(server: Server) -> None:
    job = await server.submit()
    async with opened(server) as wire:
        for _ in range(2):
            await wire.send_json(watching(job["id"]))
            await job_of(wire)
            await wire.send_json({"type": "complete", "id": "1"})
        for _ in range(2):
            await wire.send_json(watching(job["id"]))
        assert await code_of_close(wire) == 4409


async def test_operations_of_one_socket_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MOST_OPERATIONS", 1)
    job = await server.submit()
    async with opened(server) as wire:
        await wire.send_json(watching(job["id"]))
        await job_of(wire)
        await wire.send_json({**watching(job["id"]), "id": "2"})
        assert (await heard(wire))["type"] == "error"


async def test_another_subprotocol_is_not_spoken(server: Server) -> None:
    for protocols in ((), ("graphql-ws",)):
        async with server.http.ws_connect("/graphql", protocols=protocols) as wire:
            assert await code_of_close(wire) == 4406


async def test_a_slow_reader_is_closed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_sending, "SLOW_SECONDS", 0.05)
    closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    close = websocket_sending.Outgoing.close

    async def noted(out: websocket_sending.Outgoing, code: int, reason: str) -> None:
        if not closed.done():
            closed.set_result(code)
        await close(out, code, reason)

    monkeypatch.setattr(websocket_sending.Outgoing, "close", noted)
    job = await server.submit()
    await server.hand.succeed(await server.hand.take(), body=json.dumps("x" * 900_000))
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(frame({"type": "connection_init"}))
    for number in range(50):  # more than the buffers of both sides take
        writer.write(frame({**watching(job["id"]), "id": str(number)}))
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await closed == 1013
    writer.transport.abort()


def frame(message: Any) -> bytes:
    """A client's text frame, masked with zeros."""
    data = json.dumps(message).encode()
    length = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + data


ALL = ["submit", "read", "admin"]


async def key_for(server: Server, admin: str | None = None, **fields: Any) -> Any:
    headers = {} if admin is None else {"x-api-key": admin}
    return await server.post("/v1/keys", json={"scopes": ALL, **fields}, headers=headers)


async def test_a_socket_presents_its_key_in_connection_params_or_a_header(server: Server) -> None:
    key = (await key_for(server))["key"]
    for init in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}, {"key": key}):
        async with opened(server, init):
            pass
    async with opened(server, headers={"x-api-key": key}):
        pass
    for bad in ({}, {"key": key[:-1] + "x"}, {"key": 5}):
        async with server.http.ws_connect("/graphql", protocols=(PROTOCOL,)) as wire:
            await wire.send_json({"type": "connection_init", "payload": bad})
            assert await code_of_close(wire) == 4403


async def test_no_tenant_watches_or_reads_the_jobs_of_another(server: Server) -> None:
    job = await server.submit()
    admin = (await key_for(server))["key"]
    other = (await key_for(server, admin, tenant="other"))["key"]
    async with opened(server, {"key": other}) as wire:
        await wire.send_json(watching(job["id"]))
        assert (await heard(wire))["payload"]["errors"][0]["extensions"]["code"] == "not_found"
    for document in (f'{{ job(id: "{job["id"]}") {{ id }} }}', f'mutation {{ cancel(id: "{job["id"]}") {{ id }} }}'):
        found = await server.post("/graphql", json={"query": document}, headers={"x-api-key": other})
        assert found["errors"][0]["extensions"]["code"] == "not_found"
    found = await server.post("/graphql", json={"query": "{ jobs { edges { cursor } } }"}, headers={"x-api-key": other})
    assert found == {"data": {"jobs": {"edges": []}}}


async def test_a_key_does_what_its_scopes_say(server: Server) -> None:
    admin = (await key_for(server))["key"]
    reader = (await key_for(server, admin, scopes=["read"]))["key"]
    submitter = (await key_for(server, admin, scopes=["submit"]))["key"]
    submit = 'mutation { submit(input: {body: {model: "gpt-model"}}) { id } }'
    for key, document, is_allowed in (
        (reader, "{ jobs { edges { cursor } } }", True),
        (reader, submit, False),
        (submitter, submit, True),
        (submitter, "{ jobs { edges { cursor } } }", False),
    ):
        found = await server.post("/graphql", json={"query": document}, headers={"x-api-key": key})
        assert ("errors" not in found) == is_allowed
        assert is_allowed or found["errors"][0]["extensions"]["status"] == 403
    async with opened(server, {"key": submitter}) as wire:
        await wire.send_json(watching("x"))
        assert (await heard(wire))["payload"]["errors"][0]["extensions"]["status"] == 403


async def test_a_revoked_key_is_told_nothing_more(server: Server) -> None:
    admin = (await key_for(server))["key"]
    watcher = await key_for(server, admin)
    job = await server.post("/v1/jobs", 202, json={"body": CHAT}, headers={"x-api-key": admin})
    async with opened(server, {"key": watcher["key"]}) as wire:
        await wire.send_json(watching(job["id"]))
        assert (await job_of(wire))["status"] == "queued"
        async with server.http.delete(f"/v1/keys/{watcher['id']}", headers={"x-api-key": admin}) as reply:
            assert reply.status == 200
        await server.hand.succeed(await server.hand.take())
        [error] = (await heard(wire))["payload"]["errors"]
        assert error["extensions"]["status"] == 401
        assert (await heard(wire))["type"] == "complete"
        await wire.send_json(watching(job["id"]))
        assert "payload" in (refused := await heard(wire))
        assert "succeeded" not in json.dumps(refused)


async def test_what_the_gate_refuses_has_graphqls_shape(server: Server) -> None:
    await key_for(server)
    found = await server.post("/graphql", 401, json={"query": "{ __typename }"})
    assert found["errors"][0]["extensions"] == {"code": "invalid_api_key", "status": 401}
