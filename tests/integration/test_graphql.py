"""``/graphql`` over HTTP, asked by the public client ``gql`` and by plain requests."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError

from forebay.api.graphql import operation
from forebay.api.graphql.nodes import AttemptOutcome, JobInput, JobStatus, OnUnknown
from forebay.api.jobs.requests import NOT_YET, JobRequest
from forebay.domain.attempt import Outcome
from forebay.domain.job import OnUnknown as DomainOnUnknown
from forebay.domain.job import Status
from tests.integration.api_server import ANSWER, CHAT, Server, running_server

SUBMIT = "mutation ($input: JobInput!) { submit(input: $input) { id status metadata } }"
WHOLE = """query ($id: ID!) { job(id: $id) {
  id object kind status target model endpoint parentId priority metadata createdAt notBefore deadline startedAt
  finishedAt costUsd attemptCount error { code message } result { statusCode body }
  usage { inputTokens cachedTokens outputTokens reasoningTokens totalTokens }
  attempts { number target model startedAt finishedAt outcome statusCode error retryAt costUsd usage { totalTokens } }
} }"""
PAGE = """query ($first: Int, $after: String, $status: [JobStatus!], $metadata: JSON) {
  jobs(first: $first, after: $after, status: $status, metadata: $metadata) {
    edges { cursor node { id status } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
GRAPHQL_JSON = "application/graphql-response+json"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Any]:
    transport = AIOHTTPTransport(url=server.url + "/graphql", ssl=False)
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        yield session


async def ask(client: Any, document: str, **variables: Any) -> Any:
    return await client.execute(GraphQLRequest(document, variable_values=variables))


async def raw(server: Server, document: str, status: int = 200, **variables: Any) -> Any:
    """Asks as a client of the newer media type does, which tells failures by their status."""
    body = {"query": document, "variables": variables}
    return await server.post("/graphql", status, json=body, headers={"Accept": GRAPHQL_JSON})


async def test_a_job_goes_in_and_its_answer_comes_back(server: Server, client: Any) -> None:
    asked = {"body": CHAT, "metadata": {"team": "a"}, "priority": 5, "deadline": "15m"}
    submitted = (await ask(client, SUBMIT, input=asked))["submit"]
    assert (submitted["status"], submitted["metadata"]) == ("queued", {"team": "a"})
    await server.hand.succeed(await server.hand.take())
    job = (await ask(client, WHOLE, id=submitted["id"]))["job"]
    assert job["result"] == {"statusCode": 200, "body": json.loads(ANSWER)}
    assert [(one["number"], one["outcome"]) for one in job["attempts"]] == [(1, "succeeded")]
    view = await server.get(f"/v1/jobs/{submitted['id']}")
    shown = {"".join([key.split("_")[0], *map(str.title, key.split("_")[1:])]): value for key, value in view.items()}
    assert set(job) == set(shown)
    plain = set(shown) - {"result", "attempts", "usage"}
    assert {key: job[key] for key in plain} == {key: shown[key] for key in plain}
    assert job["usage"]["totalTokens"] == view["usage"]["total_tokens"]


async def test_an_idempotency_key_gives_the_same_job_on_every_wire(server: Server, client: Any) -> None:
    asked = {"body": CHAT, "idempotencyKey": "k"}
    first = (await ask(client, SUBMIT, input=asked))["submit"]["id"]
    assert (await ask(client, SUBMIT, input=asked))["submit"]["id"] == first
    assert (await server.submit(idempotency_key="k"))["id"] == first
    with pytest.raises(TransportQueryError) as refused:
        await ask(client, SUBMIT, input={"body": {**CHAT, "seed": 1}, "idempotencyKey": "k"})
    assert refused.value.errors is not None
    assert refused.value.errors[0]["extensions"]["code"] == "idempotency_conflict"


async def test_a_list_is_paged_by_its_cursors(server: Server, client: Any) -> None:
    ids = [(await server.submit(metadata={"n": str(number % 2)}))["id"] for number in range(5)]
    found: list[str] = []
    after = None
    for has_next in (True, True, False):
        page = (await ask(client, PAGE, first=2, after=after))["jobs"]
        assert page["pageInfo"]["hasNextPage"] is has_next
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        found += [edge["node"]["id"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
    assert found == ids[::-1]
    page = (await ask(client, PAGE, metadata={"n": "1"}))["jobs"]
    assert [edge["node"]["id"] for edge in page["edges"]] == [ids[3], ids[1]]
    assert (await ask(client, PAGE, status="failed"))["jobs"]["edges"] == []
    assert (await ask(client, PAGE, status="failed"))["jobs"]["pageInfo"]["startCursor"] is None


async def test_the_results_of_a_page_are_read_where_they_are_asked_for(server: Server) -> None:
    for text in ("one", "two"):
        await server.submit()
        await server.hand.succeed(await server.hand.take(), body=json.dumps({"text": text}))
    found = await raw(server, "{ jobs { edges { node { result { body } attempts { number } } } } }")
    bodies = [edge["node"]["result"]["body"]["text"] for edge in found["data"]["jobs"]["edges"]]
    assert bodies == ["two", "one"]


async def test_the_results_of_a_reply_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "MOST_RESULT_BYTES", 1000)
    for _ in range(3):
        await server.submit()
        await server.hand.succeed(await server.hand.take(), body=json.dumps("x" * 700))
    found = await raw(server, "{ jobs { edges { node { result { body } } } } }")
    results = [edge["node"]["result"] for edge in found["data"]["jobs"]["edges"]]
    assert sum(result is not None for result in results) == 1
    assert {error["extensions"]["code"] for error in found["errors"]} == {"results_too_large"}


async def test_a_number_comes_back_as_the_model_wrote_it(server: Server) -> None:
    job = await server.submit()
    await server.hand.succeed(await server.hand.take(), body='{"a": 1.10, "b": 12345678901234567890123}')
    body = {"query": f'{{ job(id: "{job["id"]}") {{ result {{ body }} }} }}'}
    async with server.http.post("/graphql", json=body) as reply:
        assert '{"a": 1.10, "b": 12345678901234567890123}' in await reply.text()


async def test_cancel_is_idempotent(server: Server, client: Any) -> None:
    job = await server.submit()
    for _ in range(2):
        assert (await ask(client, "mutation ($id: ID!) { cancel(id: $id) { status } }", id=job["id"]))["cancel"] == {
            "status": "cancelled"
        }


async def test_what_is_not_there_is_null_and_an_error_with_its_code(server: Server) -> None:
    found = await raw(server, '{ job(id: "job_none") { id } }')
    assert found["data"] == {"job": None}
    [error] = found["errors"]
    assert error["extensions"] == {"code": "not_found", "param": "id", "status": 404}
    assert error["path"] == ["job"]
    found = await raw(server, 'mutation { cancel(id: "job_none") { id } }')
    assert (found["data"], found["errors"][0]["extensions"]["code"]) == (None, "not_found")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"body": CHAT, "model": "nobody"}, "model_not_found"),
        ({"body": []}, "invalid_value"),
        ({"body": CHAT, "priority": 101}, "invalid_value"),
        ({"body": CHAT, "deadline": "soon"}, "invalid_value"),
        ({"body": CHAT, "metadata": {"k": 1}}, "invalid_value"),
        ({"body": CHAT, "metadata": {"k": "\0"}}, "invalid_value"),
        ({"body": CHAT, "idempotencyKey": ""}, "invalid_value"),
        ({"body": CHAT, "timeout": 0}, "invalid_value"),
    ],
)
async def test_what_rest_refuses_is_refused_with_the_same_code(server: Server, fields: Any, code: str) -> None:
    found = await raw(server, SUBMIT, input=fields)
    assert found["errors"][0]["extensions"]["code"] == code
    assert (await server.get("/v1/jobs"))["data"] == []


@pytest.mark.parametrize(
    "arguments", ["first: 0", "first: 1001", 'status: "failed"', 'createdAfter: "x"', "last: 3", 'after: "zz"']
)
async def test_a_bad_filter_is_refused(server: Server, arguments: str) -> None:
    body = {"query": f"{{ jobs({arguments}) {{ edges {{ cursor }} }} }}"}
    async with server.http.post("/graphql", json=body) as reply:
        assert (reply.status, reply.content_type) == (200, "application/json")
        assert (await reply.json())["errors"][0]["extensions"]["code"] in {"invalid_value", "graphql_validation_failed"}


async def test_a_nul_in_a_text_is_refused(server: Server) -> None:
    for document in (
        '{ job(id: "\\u0000") { id } }',
        '{ jobs(after: "\\u0000") { edges { cursor } } }',
        '{ jobs(metadata: {a: "\\u0000"}) { edges { cursor } } }',
        'mutation { cancel(id: "\\u0000") { id } }',
    ):
        found = await raw(server, document)
        assert found["errors"][0]["extensions"]["code"] == "invalid_value"


async def test_a_refusal_names_the_argument_as_the_graph_does(server: Server) -> None:
    found = await raw(server, SUBMIT, input={"body": CHAT, "maxAttempts": 0})
    assert found["errors"][0]["extensions"]["param"] == "maxAttempts"


async def test_a_job_goes_to_several_targets(server: Server, client: Any) -> None:
    asked = {"body": CHAT, "targets": ["gpt", "other"], "join": {"successes": 1}}
    submitted = (await ask(client, SUBMIT, input=asked))["submit"]
    assert (await server.get(f"/v1/jobs/{submitted['id']}"))["kind"] == "fanout"


async def test_every_field_of_a_submission_is_in_the_graph() -> None:
    ours = {field.name for field in msgspec.structs.fields(JobRequest)} - set(NOT_YET)
    assert set(JobInput.__annotations__) == ours


async def test_the_graphs_values_are_those_of_every_wire() -> None:
    assert [one.value for one in JobStatus] == list(Status)
    assert [one.value for one in AttemptOutcome] == list(Outcome)
    assert [one.value for one in OnUnknown] == list(DomainOnUnknown)
