"""How a socket ends: a bad key, a client that reads nothing, a server that stops; and whose jobs one may see."""

import asyncio
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from forebay.api.keys.records import KeyOrder, create_key, revoke_key
from forebay.api.websocket import presence as websocket_presence
from forebay.api.websocket import protocol as websocket_protocol
from forebay.api.websocket import sending as websocket_sending
from forebay.api.websocket.protocol import SocketProtocol
from forebay.api.websocket.sending import Outgoing
from forebay.domain.job import Status
from forebay.domain.key import Scope
from tests.integration.api_server import CHAT, Server, running_server
from tests.integration.socket_client import Socket, open_socket

ALL = (Scope.SUBMIT, Scope.READ, Scope.ADMIN)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def new_key(server: Server, tenant: str = "default", scopes: tuple[Scope, ...] = ALL) -> tuple[str, str]:
    """A key's id and text."""
    services = server.services
    order = KeyOrder(tenant=tenant, scopes=scopes)
    key, text = await create_key(order, services.records, services.ids, services.clock.now())
    return key.id, text


def bearing(key: str) -> dict[str, Any]:
    return {"additional_headers": {"authorization": f"Bearer {key}"}}


async def closed_with(socket: Socket) -> tuple[int, str]:
    """Reads until the socket is closed."""
    end = None
    try:
        while True:
            await socket.hear()
    except ConnectionClosed as closed:
        end = closed.rcvd
    assert end is not None
    return end.code, end.reason


async def test_a_key_is_taken_from_a_header_or_from_the_first_message(server: Server) -> None:
    _, key = await new_key(server)
    async with open_socket(server.url, **bearing(key)) as socket:
        assert await socket.is_quiet()
    async with open_socket(server.url, additional_headers={"x-api-key": key}) as socket:
        assert await socket.is_quiet()
    async with open_socket(server.url) as socket:
        await socket.say("auth", key=key)
        assert await socket.is_quiet()


async def test_a_bad_key_closes_the_socket_with_4401(server: Server) -> None:
    await new_key(server)
    async with open_socket(server.url, **bearing("fb_bad")) as socket:
        assert (await closed_with(socket))[0] == 4401
    async with open_socket(server.url) as socket:
        await socket.say("auth", key="fb_bad")
        assert (await closed_with(socket))[0] == 4401
    async with open_socket(server.url) as socket:
        await socket.say("submit", ref="r", job={"body": CHAT})
        code, reason = await closed_with(socket)
    assert (code, "auth" in reason) == (4401, True)
    assert await server.services.jobs.depths() == []


async def test_a_client_that_says_nothing_is_closed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_presence, "AUTH_SECONDS", 0.01)
    await new_key(server)
    async with open_socket(server.url) as socket:
        assert (await closed_with(socket))[0] == 4401


async def test_a_key_that_is_revoked_ends_its_sockets(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.api.keys.ring.FRESH_SECONDS", -1.0)
    key_id, key = await new_key(server)
    async with open_socket(server.url, **bearing(key)) as socket, open_socket(server.url, **bearing(key)) as watching:
        await watching.submit("r", body=CHAT)
        claimed = await server.hand.take()
        await revoke_key(key_id, None, server.services.records, server.clock.now())
        await socket.say("ping")
        assert (await closed_with(socket))[0] == 4401
        await server.hand.succeed(claimed)  # its result is for nobody who has no key
        assert (await closed_with(watching))[0] == 4401


async def test_no_log_has_the_key_or_a_message_of_a_socket(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    _, key = await new_key(server)
    for name in (None, "uvicorn.error"):
        caplog.set_level("DEBUG", logger=name)
    for _ in range(2):
        async with server.http.ws_connect("/v1/ws", headers=bearing(key)["additional_headers"]) as socket:
            await socket.send_json({"action": "ping", "ref": "what-was-said"})
            assert (await socket.receive_json())["ref"] == "what-was-said"
    assert key not in caplog.text
    assert "what-was-said" not in caplog.text


async def test_another_tenants_job_is_as_if_it_were_not(server: Server) -> None:
    keys = [(await new_key(server, tenant))[1] for tenant in ("one", "two")]
    async with (
        open_socket(server.url, **bearing(keys[0])) as mine,
        open_socket(server.url, **bearing(keys[1])) as other,
    ):
        job_id = await mine.submit("r", body=CHAT)
        for action in ("watch", "cancel"):
            await other.say(action, ids=[job_id])
            assert (await other.hear())["error"]["code"] == "not_found"
        await server.hand.succeed(await server.hand.take())
        assert (await mine.hear())["job"]["status"] == "succeeded"
        assert await other.is_quiet()


async def test_each_action_needs_its_scope(server: Server) -> None:
    _, reader = await new_key(server, scopes=(Scope.READ,))
    _, submitter = await new_key(server, scopes=(Scope.SUBMIT,))
    async with open_socket(server.url, **bearing(reader)) as socket:
        await socket.say("submit", ref="r", job={"body": CHAT})
        assert (await socket.hear())["error"]["type"] == "permission_error"
    async with open_socket(server.url, **bearing(submitter)) as socket:
        job_id = await socket.submit("r", body=CHAT)
        await socket.say("watch", ref="w", ids=[job_id])
        assert (await socket.hear())["error"]["type"] == "permission_error"
        await server.hand.succeed(await server.hand.take())
        assert (await socket.hear())["job"]["status"] == "succeeded"  # the answer to its own submission


async def test_a_client_that_reads_nothing_is_told_and_closed_and_loses_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_sending, "SLOW_SECONDS", 0.2)
    given_up = asyncio.Event()
    close = Outgoing.close

    async def tell_and_close(out: Outgoing, code: int, reason: str) -> None:
        await close(out, code, reason)
        given_up.set()

    monkeypatch.setattr(Outgoing, "close", tell_and_close)
    large = '{"text": "' + "x" * 900_000 + '"}'
    ids = []
    for number in range(20):  # more than the two ends' buffers take
        ids.append((await server.submit(body={**CHAT, "seed": number}))["id"])
        await server.hand.succeed(await server.hand.take(), body=large)
    narrow = sockets.socket()
    narrow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 32_768)
    narrow.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    # The client's own queue holds one message, and it asks for no second one.
    async with open_socket(server.url, sock=narrow, max_queue=1) as socket:
        await socket.say("watch", ids=ids)
        await given_up.wait()
        code, reason = await closed_with(socket)
        assert (code, "slowly" in reason) == (1013, True)
    monkeypatch.undo()
    async with open_socket(server.url) as again:
        await again.say("watch", ids=ids)
        assert {(await again.hear())["job"]["status"] for _ in ids} == {Status.SUCCEEDED}


async def test_a_server_that_stops_closes_its_sockets_with_1012(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, open_socket(server.url) as socket:
        await socket.submit("r", body=CHAT)
        server.serving.cancel()
        assert (await closed_with(socket))[0] == 1012
        await asyncio.wait({server.serving})


async def test_a_stop_does_not_wait_for_a_client_that_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_protocol, "CLOSE_SECONDS", 0.1)
    async with running_server(tmp_path) as server:
        ids = []
        for number in range(20):
            ids.append((await server.submit(body={**CHAT, "seed": number}))["id"])
            await server.hand.succeed(await server.hand.take(), body='{"text": "' + "x" * 900_000 + '"}')
        async with open_socket(server.url, max_queue=1) as socket:
            await socket.say("watch", ids=ids)
            await socket.hear()
            server.serving.cancel()
            await asyncio.wait({server.serving})
            socket.connection.transport.abort()


async def test_a_large_job_may_follow_the_key_at_once(server: Server) -> None:
    _, key = await new_key(server)
    async with open_socket(server.url) as socket:
        await socket.say("auth", key=key)
        await socket.say("submit", ref="r", job={"body": {**CHAT, "pad": "x" * 900_000}})
        assert (await socket.hear())["type"] == "accepted"


async def test_of_a_stranger_no_more_is_read_than_a_first_message_needs(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_presence, "AUTH_SECONDS", 0.2)
    heard = []
    receive = SocketProtocol.data_received

    def listen(protocol: SocketProtocol, data: bytes) -> None:
        heard.append(len(data))
        receive(protocol, data)

    monkeypatch.setattr(SocketProtocol, "data_received", listen)
    await new_key(server)
    async with open_socket(server.url) as socket:
        await socket.connection.send('{"action": "auth", "key": "' + "x" * 1_000_000 + '"}')
        assert (await closed_with(socket))[0] == 4401
    assert sum(heard[:-1]) <= websocket_protocol.STRANGER_BYTES
