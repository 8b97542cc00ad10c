"""Keys at the gate: who is let in, with which scopes, and how it is said in each vendor's way."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from forebay.api.keys.records import KeyOrder, create_key, revoke_key
from forebay.api.server import serve
from forebay.domain.errors import ConfigurationError
from forebay.domain.key import Scope
from forebay.settings.records import Settings, StoreSettings
from tests.integration.api_server import CHAT, Server, running_server

ALL = tuple(Scope)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def make_key(server: Server, *scopes: Scope, tenant: str = "default", **fields: Any) -> str:
    order = KeyOrder(tenant=tenant, scopes=scopes or ALL, **fields)
    services = server.services
    _, text = await create_key(order, services.records, services.ids, services.clock.now())
    return text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_any_key_is_accepted_while_none_exists(server: Server) -> None:
    await server.get("/v1/jobs")
    await server.get("/v1/jobs", headers=bearer("sk-whatever"))


async def test_a_key_is_needed_once_one_exists(server: Server) -> None:
    key = await make_key(server)
    for headers in ({}, bearer("sk-whatever"), bearer(key[:-1] + "!"), {"Authorization": f"Basic {key}"}):
        refused = await server.get("/v1/jobs", 401, headers=headers)
        assert refused["error"]["code"] == "invalid_api_key"
        assert refused["error"]["type"] == "authentication_error"
        assert key not in str(refused)
    await server.get("/v1/jobs", headers=bearer(key))
    await server.get("/v1/jobs", headers={"x-api-key": key})


async def test_a_refused_caller_is_challenged(server: Server) -> None:
    await make_key(server)
    async with server.http.get("/v1/jobs") as reply:
        assert reply.headers["www-authenticate"] == 'Bearer realm="forebay"'
        assert reply.headers["x-request-id"]
    async with server.http.get("/v1/jobs", headers=bearer("sk-no")) as reply:
        assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    reader = await make_key(server, Scope.READ)
    async with server.http.post("/v1/jobs", headers=bearer(reader)) as reply:
        assert 'error="insufficient_scope", scope="submit"' in reply.headers["www-authenticate"]


async def test_anthropics_clients_are_refused_in_their_own_shape(server: Server) -> None:
    await make_key(server)
    refused = await server.post("/v1/messages", 401, json={})
    assert refused["type"] == "error"
    assert refused["error"]["type"] == "authentication_error"


async def test_a_key_without_the_scope_is_told_which_one_it_lacks(server: Server) -> None:
    key = await make_key(server, Scope.READ)
    for path in ("/v1/jobs", "/v1/chat/completions", "/v1/rerank"):
        refused = await server.post(path, 403, json=CHAT, headers=bearer(key))
        assert refused["error"]["code"] == "insufficient_scope"
        assert "'submit'" in refused["error"]["message"]
    submitter = await make_key(server, Scope.SUBMIT)
    await server.post("/v1/jobs", 202, json={"body": CHAT}, headers=bearer(submitter))
    await server.get("/v1/jobs", 403, headers=bearer(submitter))


async def test_a_revoked_and_an_expired_key_are_refused(server: Server) -> None:
    now = server.services.clock.now()
    expired = await make_key(server, expires_at=now)
    revoked = await make_key(server)
    [_, key_id, _] = revoked.split("_")
    await revoke_key(f"key_{key_id}", None, server.services.records, now)
    await server.get("/v1/jobs", 401, headers=bearer(expired))
    await server.get("/v1/jobs", 401, headers=bearer(revoked))


async def test_probes_need_no_key(server: Server) -> None:
    await make_key(server)
    await server.get("/livez")
    await server.get("/readyz")
    for path in ("/metrics", "/docs", "/openapi.json", "/v1/nothing"):
        await server.get(path, 401)


async def test_no_server_listens_to_strangers_without_a_key(server: Server, tmp_path: Path) -> None:
    place = StoreSettings(url="sqlite:///:memory:", path=tmp_path / "unused.db")
    system = server.system(Settings(store=place, blobs=tmp_path / "blobs"))
    with pytest.raises(ConfigurationError, match="forebay keys create"):
        await serve(system, host="0.0.0.0", port=0)


async def test_openais_client_tells_its_refusals_apart(server: Server) -> None:
    full, reading = await make_key(server), await make_key(server, Scope.READ)
    request: Any = {"model": "gpt-model", "messages": [{"role": "user", "content": "hello"}]}
    clients = [AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) for key in (full, reading, "sk-no")]
    async with clients[0] as allowed, clients[1] as reader, clients[2] as stranger:
        assert [model.id async for model in await allowed.models.list()]
        assert [model.id async for model in await reader.models.list()]
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            await reader.chat.completions.create(**request)
        assert forbidden.value.code == "insufficient_scope"
        with pytest.raises(openai.AuthenticationError) as unknown:
            await stranger.chat.completions.create(**request)
        assert unknown.value.code == "invalid_api_key"


async def test_anthropics_client_tells_its_refusals_apart(server: Server) -> None:
    reading = await make_key(server, Scope.READ)
    request: Any = {"model": "claude-3", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    clients = [AsyncAnthropic(base_url=server.url, api_key=key, max_retries=0) for key in (reading, "sk-ant-no")]
    async with clients[0] as reader, clients[1] as stranger:
        assert [model.id async for model in reader.models.list()]
        with pytest.raises(anthropic.PermissionDeniedError):
            await reader.messages.create(**request)
        with pytest.raises(anthropic.AuthenticationError):
            await stranger.messages.create(**request)


async def test_a_socket_from_a_page_of_another_origin_is_not_opened(server: Server) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await server.http.ws_connect("/v1/ws", headers={"Origin": "https://elsewhere.example"})
    assert refused.value.status == 403
