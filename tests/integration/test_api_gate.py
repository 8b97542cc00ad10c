"""Whom the server answers, and how it describes itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from forebay.api.description.operations import OPERATIONS
from forebay.api.server import ROUTES
from forebay.domain.errors import StoreUnavailable
from tests.integration.api_server import CHAT, Server, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"host": "evil.example"},
        {"host": "evil.example:8700", "origin": "http://evil.example:8700"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "evil.example@localhost"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
    ids=str,
)
async def test_a_page_of_another_site_gets_nothing(server: Server, headers: dict[str, str]) -> None:
    refused = await server.post("/v1/jobs", 403, json={"body": CHAT}, headers=headers)
    assert refused["error"]["code"] == "forbidden_origin"
    await server.get("/v1/jobs", 403, headers=headers)


@pytest.mark.parametrize("name", ["Host", "Authorization", "X-Api-Key", "Origin"])
async def test_a_header_that_decides_who_calls_is_there_once(server: Server, name: str) -> None:
    twice = [("Host", "localhost")] * (name != "Host") + [(name, "localhost")] * 2
    reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    head = "".join(f"{key}: {value}\r\n" for key, value in twice)
    writer.write(f"GET /v1/jobs HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
    reply = await reader.read()
    writer.close()
    assert reply.startswith(b"HTTP/1.1 400")
    assert b"is there twice" in reply


@pytest.mark.parametrize(
    ("version", "host", "status"), [("1.1", "", 400), ("1.1", "Host: localhost\r\n", 200), ("1.0", "", 200)]
)
async def test_a_request_of_http_1_1_has_a_host(server: Server, version: str, host: str, status: int) -> None:
    reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    writer.write(f"GET /v1/jobs HTTP/{version}\r\n{host}Connection: close\r\n\r\n".encode())
    reply = await reader.read()
    writer.close()
    assert reply.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"names its Host" in reply) is (status == 400)


async def test_the_servers_own_pages_and_plain_clients_are_served(server: Server) -> None:
    await server.get("/v1/jobs", headers={"origin": server.url})
    await server.get("/v1/jobs", headers={"host": "localhost:9999"})
    await server.get("/v1/jobs", headers={"host": "[::1]:8700"})
    await server.get("/v1/jobs", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})


async def test_every_reply_has_an_id_of_its_own(server: Server) -> None:
    seen = set()
    for path in ("/livez", "/v1/nothing", "/v1/jobs?x=1", "/v1/jobs"):
        async with server.http.get(path) as reply:
            seen.add(reply.headers["x-request-id"])
    assert len(seen) == 4


async def test_no_reply_opens_the_server_to_other_origins(server: Server) -> None:
    async with server.http.options("/v1/jobs", headers={"origin": server.url}) as reply:
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]


async def test_the_description_names_every_operation_and_resolves(server: Server) -> None:
    document = await server.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    operations = list(schemathesis.openapi.from_dict(document).get_all_operations())
    assert len(operations) >= len(OPERATIONS)
    assert [operation for operation in operations if not hasattr(operation, "ok")] == []
    for operation in OPERATIONS:
        assert operation.method in document["paths"][operation.path]
    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def test_every_route_is_described_and_stands_once() -> None:
    standing = [(method, route.path.replace(":path", "")) for route in ROUTES for method in route.methods or ()]
    undescribed = {"/docs", "/openapi.json", "/v1/ws", "/v1/graphql"}  # the last is /graphql once more
    described = {(operation.method.upper(), operation.path) for operation in OPERATIONS}
    assert len(standing) == len(set(standing))
    assert {(method, path) for method, path in standing if method != "HEAD" and path not in undescribed} <= described


async def test_the_job_views_schema_has_every_key_and_requires_it(server: Server) -> None:
    document = await server.get("/openapi.json")
    schema = document["components"]["schemas"]["JobView"]
    job = await server.submit()
    assert set(schema["properties"]) == set(job)
    validator = jsonschema_rs.validator_for({**schema, "components": document["components"]})
    validator.validate(job)


async def test_the_documentation_loads_nothing_from_elsewhere(server: Server) -> None:
    async with server.http.get("/docs") as reply:
        assert reply.status == 200
        page = await reply.text()
    assert "http://" not in page
    assert "https://" not in page
    assert "openapi.json" in page


async def test_a_request_cut_in_its_body_harms_nobody(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n" + b"{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await server.get("/livez") == {"status": "ok"}


async def test_what_nobody_foresaw_is_a_500_in_the_envelope(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(server.services.jobs, "find", broken)
    async with server.http.get("/v1/jobs") as reply:
        text = await reply.text()
        assert reply.status == 500
        assert reply.headers["x-request-id"]
    assert json.loads(text)["error"]["type"] == "server_error"
    assert "secret" not in text


async def test_a_store_that_is_away_is_a_503_to_be_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    for verb in ("add", "get"):
        monkeypatch.setattr(server.services.jobs, verb, away)
    async with server.http.post("/v1/jobs", json={"body": CHAT}) as reply:
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert (await reply.json())["error"]["code"] == "store_unavailable"
    assert (await server.get("/readyz", 503))["status"] == "unavailable"
    assert await server.get("/livez") == {"status": "ok"}
