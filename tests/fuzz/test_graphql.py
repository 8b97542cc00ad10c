"""Damaged documents, variables and messages at ``/graphql``: refused in GraphQL's shape, never a fault of ours."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.strategies import DAMAGE, JSON_VALUES, damaged, fuzz
from tests.integration.api_server import CHAT, Server, running_server

PATIENCE_SECONDS = 20.0
PROTOCOL = "graphql-transport-ws"
DOCUMENTS = (
    "query ($n: Int = 3) { jobs(first: $n, status: [queued, failed]) { edges { cursor node { ...J } } } }"
    " fragment J on Job { id metadata result { body } attempts { outcome usage { totalTokens } } }",
    "mutation ($input: JobInput!) { submit(input: $input) { id status } }",
    'mutation { submit(input: {body: {model: "gpt-model", a: [1.5, null, true, "\\u00e9"]}}) { id } }',
    'query A { a: job(id: "x") { id @skip(if: true) ... on Job @include(if: true) { kind } } } query B { __typename }',
    "subscription ($ids: [ID!]!) { jobUpdates(ids: $ids) { id } }",
)
VARIABLES: dict[str, Any] = {"n": 2, "ids": ["x"], "input": {"body": CHAT, "metadata": {"a": "b"}, "deadline": "15m"}}
VALID = st.sampled_from([json.dumps({"query": one, "variables": VARIABLES}).encode() for one in DOCUMENTS])
MESSAGES = st.sampled_from(
    [
        *(
            json.dumps({"type": "subscribe", "id": "1", "payload": {"query": one, "variables": VARIABLES}}).encode()
            for one in DOCUMENTS
        ),
        b'{"type": "connection_init", "payload": {"key": "k"}}',
        b'{"type": "ping", "payload": {}}',
        b'{"type": "complete", "id": "1"}',
    ]
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as opened:
        yield opened


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """A request whose document is damaged within its JSON, or has other variables."""
    document = draw(damaged(st.sampled_from([one.encode() for one in DOCUMENTS]))).decode(errors="replace")
    variables = draw(st.just(VARIABLES) | st.dictionaries(st.sampled_from(["n", "ids", "input"]), JSON_VALUES))
    return json.dumps({"query": document, "variables": variables}).encode()


@st.composite
def inputs(draw: st.DrawFn) -> bytes:
    """A submission with anything in its fields."""
    names = st.sampled_from(["body", "model", "target", "targets", "join", "deadline", "timeout", "metadata", "notify"])
    given = {"body": CHAT, **draw(st.dictionaries(names, JSON_VALUES, max_size=3))}
    return json.dumps({"query": DOCUMENTS[1], "variables": {"input": given}}).encode()


async def test_no_request_is_a_fault_of_ours(server: Server) -> None:
    found: list[bytes] = []

    @fuzz(300)
    @given(damaged(VALID) | documents() | inputs())
    def gather(request: bytes) -> None:
        found.append(request)

    gather()
    for data in found:
        headers = {"Content-Type": "application/json", "Accept": "application/graphql-response+json"}
        async with server.http.post("/graphql", data=data, headers=headers) as reply:
            body = await reply.json(content_type=None)
            assert reply.status in {200, 400}, (data, body)
        for error in body.get("errors", ()):
            assert error["extensions"]["code"] not in {"internal", None}, (data, body)


async def test_no_message_is_a_fault_of_ours(server: Server) -> None:
    found: list[list[bytes]] = []

    @fuzz(100)
    @given(st.lists(MESSAGES | damaged(MESSAGES) | DAMAGE, min_size=1, max_size=4))
    def gather(messages: list[bytes]) -> None:
        found.append(messages)

    gather()
    for messages in found:
        async with server.http.ws_connect("/graphql", protocols=(PROTOCOL,)) as wire:
            with contextlib.suppress(ConnectionError):  # the server closes at what is no message
                await wire.send_str('{"type": "connection_init"}')
                for message in messages:
                    await wire.send_str(message.decode(errors="replace"))
                await wire.send_str('{"type": "nonsense"}')
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (told := await wire.receive()).type is aiohttp.WSMsgType.TEXT:
                    assert '"internal"' not in told.data, messages
            assert wire.close_code in {4400, 4401, 4409, 4429}, (messages, wire.close_code)
