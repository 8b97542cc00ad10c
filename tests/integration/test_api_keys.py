"""``/v1/keys``: made, shown once, listed, revoked; by the installation's administrators and by a tenant's."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.api.keys.records import HOLDER, KIND, USE_SECONDS
from forebay.domain.key import KEY, Scope
from tests.integration.api_server import CHAT, Server, running_server
from tests.integration.test_api_key_gate import bearer, make_key


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def made(server: Server, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    view: dict[str, Any] = await server.post("/v1/keys", json=fields, headers=headers or {})
    return view


async def test_the_first_key_closes_the_server_at_once(server: Server) -> None:
    first = await made(server, scopes=["admin"])
    await server.get("/v1/keys", 401)
    page = await server.get("/v1/keys", headers=bearer(first["key"]))
    assert [key["id"] for key in page["data"]] == [first["id"]]


async def test_a_key_is_shown_once_and_kept_as_a_hash(server: Server) -> None:
    first = await made(server, name="ci", scopes=["admin", "read"], expires_at="90d")
    assert KEY.fullmatch(first["key"])
    assert first["key"].startswith(first["prefix"])
    shown = await server.get(f"/v1/keys/{first['id']}", headers=bearer(first["key"]))
    assert shown["status"] == "active"
    assert shown["expires_at"] == server.clock.now() + 90 * 86_400
    assert "key" not in shown
    [record] = await server.services.records.list(HOLDER, KIND)
    assert first["key"].split("_")[2] not in record.data


async def test_the_new_key_is_no_ones_to_cache(server: Server) -> None:
    async with server.http.post("/v1/keys", json={}) as reply:
        assert reply.headers["cache-control"] == "no-store"


async def test_a_revoked_key_ends_at_once_on_the_server_that_was_asked(server: Server) -> None:
    admin = bearer((await made(server, scopes=["admin"]))["key"])
    other = await made(server, admin, scopes=["read"])
    await server.get("/v1/jobs", headers=bearer(other["key"]))
    for _ in range(2):
        async with server.http.delete(f"/v1/keys/{other['id']}", headers=admin) as reply:
            assert (await reply.json())["status"] == "revoked"
    await server.get("/v1/jobs", 401, headers=bearer(other["key"]))


async def test_a_stream_ends_when_its_key_is_revoked(server: Server) -> None:
    admin = bearer((await made(server, scopes=["admin", "submit"]))["key"])
    other = await made(server, admin, scopes=["read"])
    job = await server.post("/v1/jobs", 202, json={"body": CHAT}, headers=admin)
    async with server.http.get(f"/v1/jobs/{job['id']}/events", headers=bearer(other["key"])) as stream:
        told = await stream.content.readuntil(b"\n\n")
        assert b"job.queued" in told
        await server.http.delete(f"/v1/keys/{other['id']}", headers=admin)
        await server.hand.succeed(await server.hand.take())
        assert b"job.succeeded" not in await stream.content.read()


async def test_the_last_use_is_written_once_a_minute(server: Server) -> None:
    first = await made(server)
    began = server.clock.now()
    await server.get("/v1/jobs", headers=bearer(first["key"]))
    read = await make_key(server, Scope.ADMIN)
    shown = await server.get(f"/v1/keys/{first['id']}", headers=bearer(read))
    assert shown["last_used_at"] == began
    server.clock.advance(USE_SECONDS + 1)
    await server.http.post("/v1/keys", json={}, headers=bearer(read))  # forgets what this process knows
    await server.get("/v1/jobs", headers=bearer(first["key"]))
    shown = await server.get(f"/v1/keys/{first['id']}", headers=bearer(read))
    assert shown["last_used_at"] == began + USE_SECONDS + 1


async def test_a_tenants_administrator_manages_its_own_keys_alone(server: Server) -> None:
    operator = await made(server, scopes=["admin"])
    admin = bearer((await made(server, bearer(operator["key"]), tenant="shop", scopes=["admin"]))["key"])
    own = await made(server, admin, name="worker")
    assert own["tenant"] == "shop"
    refused = await server.post("/v1/keys", 403, json={"tenant": "bank"}, headers=admin)
    assert refused["error"]["code"] == "insufficient_scope"
    assert {key["tenant"] for key in (await server.get("/v1/keys", headers=admin))["data"]} == {"shop"}
    await server.get("/v1/keys?tenant=default", 403, headers=admin)
    await server.get(f"/v1/keys/{operator['id']}", 404, headers=admin)
    async with server.http.delete(f"/v1/keys/{operator['id']}", headers=admin) as reply:
        assert reply.status == 404
    everyone = await server.get("/v1/keys?limit=2", headers=bearer(operator["key"]))
    assert everyone["has_more"] is True
    assert everyone["data"][0]["id"] == own["id"]


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant": "Not A Name"},
        {"tenant": "*"},
        {"scopes": []},
        {"scopes": ["root"]},
        {"expires_at": 1},
        {"name": "x" * 101},
        {"owner": "me"},
    ],
    ids=str,
)
async def test_what_is_no_key_is_refused(server: Server, fields: dict[str, Any]) -> None:
    refused = await server.post("/v1/keys", 400, json=fields)
    assert refused["error"]["message"]
    await server.get("/v1/keys")  # nothing was made: still open
