"""``/graphql`` by the letter of GraphQL over HTTP, and what a hostile document costs."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from graphql import get_introspection_query

from forebay.api.graphql import bounds
from tests.integration.api_server import CHAT, Server, running_server

GRAPHQL_JSON = "application/graphql-response+json"
JSON = "application/json"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as opened:
        yield opened


async def asked(server: Server, document: Any, accept: str = GRAPHQL_JSON, **fields: Any) -> tuple[int, str, Any]:
    body = {"query": document, **fields}
    async with server.http.post("/graphql", json=body, headers={"Accept": accept}) as reply:
        return reply.status, reply.content_type, await reply.json(content_type=None)


def code_of(body: Any) -> str:
    return str(body["errors"][0]["extensions"]["code"])


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}; charset=utf-8, {JSON};q=0.9", GRAPHQL_JSON),
        (JSON, JSON),
        ("*/*", JSON),
        ("", JSON),
        ("text/html, application/*;q=0.5", JSON),
    ],
)
async def test_the_reply_has_the_type_that_was_asked_for(server: Server, accept: str, given: str) -> None:
    assert (await asked(server, "{ __typename }", accept))[:2] == (200, given)


async def test_a_client_that_takes_neither_type_is_told_so(server: Server) -> None:
    status, _, body = await asked(server, "{ __typename }", "text/html")
    assert (status, code_of(body)) == (406, "not_acceptable")


@pytest.mark.parametrize(
    ("document", "fields", "code"),
    [
        ("{", {}, "graphql_parse_failed"),
        ("", {}, "graphql_parse_failed"),
        ("{ nothing }", {}, "graphql_validation_failed"),
        ("query ($n: Int!) { jobs(first: $n) { edges { cursor } } }", {}, "graphql_validation_failed"),
        ("query A { __typename } query B { __typename }", {"operationName": "C"}, "graphql_validation_failed"),
        ("query A { __typename } query B { __typename }", {}, "graphql_validation_failed"),
        ("mutation A { submit(input: {body: {}}) { id } } query B { __typename }", {}, "graphql_validation_failed"),
        ("fragment F on Job { id }", {}, "graphql_validation_failed"),
        ("subscription { jobUpdates(ids: []) { id } }", {}, None),
        ("{" * 400 + "a" + "}" * 400, {}, "graphql_parse_failed"),
    ],
)
async def test_a_request_that_can_not_be_executed_is_a_400_in_the_newer_type_alone(
    server: Server, document: str, fields: Any, code: str | None
) -> None:
    status, _, body = await asked(server, document, **fields)
    assert status == 400
    assert "data" not in body
    assert code is None or code_of(body) == code
    if code is not None:
        status, _, body = await asked(server, document, JSON, **fields)
        assert (status, code_of(body)) == (200, code)


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [
        (b"{", {"Content-Type": JSON}, 400),
        (b"", {"Content-Type": JSON}, 400),
        (b'{"query": 5}', {"Content-Type": JSON}, 400),
        (b'{"quer": "{ __typename }"}', {"Content-Type": JSON}, 400),
        (b'{"query": "{ __typename }", "variables": []}', {"Content-Type": JSON}, 400),
        (b'[{"query": "{ __typename }"}]', {"Content-Type": JSON}, 400),
        (b'{"query": "{ __typename }", "variables": {"a": %s}}' % (b"[" * 50_000), {"Content-Type": JSON}, 400),
        (b'{"query": "{ __typename }"}', {"Content-Type": "text/plain"}, 415),
        (b'{"query": "{ __typename }"}', {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"query": "{ __typename }"}', {"Content-Type": "application/json; charset=latin-1"}, 415),
        (b'{"query": "{ __typename }"}', {"Content-Type": "application/json;charset=UTF-8"}, 200),
        (b'{"query": "' + b" " * 1_000_001, {"Content-Type": JSON}, 413),
    ],
)
async def test_what_is_no_request_is_refused_in_graphqls_shape(
    server: Server, data: bytes, headers: dict[str, str], status: int
) -> None:
    body = await server.post("/graphql", status, data=data, headers=headers)
    assert ("errors" in body) == (status != 200)
    if status != 200:
        assert "data" not in body
        assert code_of(body)


async def test_a_get_reads_and_never_writes(server: Server) -> None:
    job = await server.submit()
    asking = {"query": "query ($id: ID!) { job(id: $id) { id } }", "variables": json.dumps({"id": job["id"]})}
    assert await server.get("/graphql", params=asking) == {"data": {"job": {"id": job["id"]}}}
    asking["query"] = "mutation ($id: ID!) { cancel(id: $id) { id } }"
    async with server.http.get("/graphql", params=asking) as reply:
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert (await server.get(f"/v1/jobs/{job['id']}"))["status"] == "queued"
    for parameters in (
        {},
        {"query": "{ __typename }", "variables": "{"},
        {"query": "{ __typename }", "variables": "[]"},
    ):
        assert "errors" in await server.get("/graphql", 400, params=parameters)


async def test_a_page_of_another_origin_may_not_ask(server: Server) -> None:
    body = {"query": 'mutation { cancel(id: "x") { id } }'}
    await server.post("/graphql", 403, json=body, headers={"Origin": "https://evil.example"})


async def test_introspection_is_allowed(server: Server) -> None:
    status, _, body = await asked(server, get_introspection_query())
    assert status == 200
    assert {"Job", "JobConnection", "JobInput"} <= {one["name"] for one in body["data"]["__schema"]["types"]}


def spread(levels: int) -> str:
    """The billion laughs: each fragment spreads the next one twice."""
    parts = [f"fragment F{n} on JobConnection {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels)]
    return " ".join([*parts, f"fragment F{levels} on JobConnection {{ pageInfo {{ endCursor }} }}"])


EDGES = "edges { node { id kind status target model result { body } attempts { number target outcome } } }"


@pytest.mark.parametrize(
    "document",
    [
        "{ jobs { " + "edges { node { " * 7 + "id" + " } }" * 7 + " } }",
        "{ jobs(first: 1000) { " + EDGES + " } }",
        "query ($n: Int!) { jobs(first: $n) { " + EDGES + " } }",
        "query ($n: Int = 1000) { jobs(first: $n) { " + EDGES + " } }",
        "{ " + " ".join(f"a{n}: __typename" for n in range(bounds.MOST_ALIASES + 1)) + " }",
        "{ " + "__typename " * (bounds.MOST_FIELDS + 1) + " }",
        "{ " + " ".join(f"a{n}: __schema {{ types {{ name }} }}" for n in range(30)) + " }",
        "mutation { " + " ".join(f'a{n}: cancel(id: "x") {{ result {{ body }} }}' for n in range(50)) + " "
        + "submit(input: {body: {}}) { id } " * 900 + " }",
        "{ jobs { ...F0 } } " + spread(40),
        "{ jobs(first: 500) { ...F0 ...F0 } } " + spread(5) + " fragment G on JobConnection { " + EDGES + " }",
    ],
    ids=["depth", "cost", "variable", "default", "aliases", "fields", "introspection", "tokens", "laughs", "spreads"],
)  # fmt: skip
async def test_a_document_that_would_cost_too_much_is_refused_before_it_runs(server: Server, document: str) -> None:
    status, _, body = await asked(server, document, variables={"n": 1000.0} if "$n: Int!" in document else None)
    assert status == 400
    assert "data" not in body


async def test_what_a_document_costs_is_what_it_asks_for(server: Server) -> None:
    for first, status in ((100, 200), (1000, 400)):
        query = "query ($n: Int) { jobs(first: $n) { " + EDGES + " } }"
        found, _, body = await asked(server, query, variables={"n": first})
        assert found == status
        assert status == 200 or code_of(body) == "graphql_too_costly"


async def test_circles_of_fragments_are_refused(server: Server) -> None:
    document = "{ jobs { ...A } } fragment A on JobConnection { ...B } fragment B on JobConnection { ...A }"
    status, _, body = await asked(server, document)
    assert (status, code_of(body)) == (400, "graphql_validation_failed")


async def test_nothing_unforeseen_is_told_to_a_client(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("a secret")

    monkeypatch.setattr(type(server.services.jobs), "find", fail)
    status, _, body = await asked(server, "{ jobs { edges { cursor } } }")
    assert (status, code_of(body)) == (200, "internal")
    assert "secret" not in json.dumps(body)


async def test_a_literal_body_is_as_good_as_a_variable(server: Server) -> None:
    document = (
        'mutation { submit(input: {body: {model: "gpt-model", messages: [], n: 2, deep: [[1.5, null]]}}) { id } }'
    )
    _, _, body = await asked(server, document)
    claimed = await server.hand.take()
    assert claimed.job.id == body["data"]["submit"]["id"]
    assert claimed.job.body is not None
    assert json.loads(claimed.job.body.text or "") == {
        "model": CHAT["model"],
        "messages": [],
        "n": 2,
        "deep": [[1.5, None]],
    }
