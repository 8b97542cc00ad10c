"""Anthropic's Messages with the official client: answers, errors, counting, and what goes upstream beside the body."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from forebay.domain.inference import Call
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.endpoint import passed_headers
from tests.integration.message_house import ASK, MODEL, House, params, running_house

MESSAGES = "/v1/messages"
CHAT = "/v1/chat/completions"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as running:
        yield running


async def test_tokens_are_counted_by_the_target(house: House) -> None:
    counted = await house.claude.messages.count_tokens(model=MODEL, messages=ASK)
    assert counted.input_tokens == 7
    assert house.upstream.calls[0].path == "/v1/messages/count_tokens"


async def test_betas_versions_and_queries_are_passed_on_and_keys_are_not(house: House) -> None:
    await house.claude.beta.messages.create(
        model=MODEL, max_tokens=5, messages=ASK, betas=["one-2026", "two-2026"], extra_query={"beta": "true"}
    )
    [call] = house.upstream.calls
    assert (call.path, call.query) == (MESSAGES, "beta=true")
    assert call.headers["anthropic-beta"] == "one-2026,two-2026"
    assert call.headers["anthropic-version"] == house.claude.default_headers["anthropic-version"]
    assert call.headers["x-api-key"] == "up-key"
    headers = {"authorization": "Bearer secret", "cookie": "a=b", "x-forwarded-for": "10.0.0.1", "openai-beta": "x=v2"}
    await house.post(f"{MESSAGES}?a=1&api_key=secret&key=secret&b=%20", 200, json=params(), headers=headers)
    sent = house.upstream.calls[1]
    assert sent.query == "a=1&b=%20"
    assert sent.headers["openai-beta"] == "x=v2"
    assert not {"cookie", "x-forwarded-for", "authorization"} & set(sent.headers)
    assert "secret" not in str(sent)


async def test_an_asynchronous_call_keeps_its_headers(house: House) -> None:
    headers = {"prefer": "respond-async", "anthropic-beta": "later-2026", "anthropic-version": "2023-06-01"}
    job = await house.post(f"{MESSAGES}?beta=true", 202, json=params(), headers=headers)
    async with house.http.get(f"/v1/jobs/{job['id']}?wait=30") as reply:
        done = await reply.json()
    assert done["status"] == "succeeded"
    [call] = house.upstream.calls
    assert (call.query, call.headers["anthropic-beta"]) == ("beta=true", "later-2026")


async def test_other_headers_under_one_key_are_another_request(house: House) -> None:
    key = {"idempotency-key": "k"}
    await house.post(MESSAGES, 200, json=params(), headers=key)
    await house.post(MESSAGES, 200, json=params(), headers=key)
    assert len(house.upstream.calls) == 1
    refused = await house.post(MESSAGES, 409, json=params(), headers={**key, "anthropic-beta": "other-2026"})
    assert refused["type"] == "error"


async def test_what_cannot_stand_in_an_address_is_refused(house: House) -> None:
    refused = await house.post(f"{MESSAGES}?x=" + "y" * 3000, 400, json=params())
    assert refused["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (403, "permission_error", anthropic.PermissionDeniedError),
        (404, "not_found_error", anthropic.NotFoundError),
        (413, "request_too_large", anthropic.RequestTooLargeError),
    ],
)
async def test_the_vendors_errors_are_raised_by_its_client(
    house: House, status: int, kind: str, error: type[anthropic.APIStatusError]
) -> None:
    house.upstream.status = status
    house.upstream.error_body = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_up"}
    with pytest.raises(error) as refused:
        await house.claude.messages.create(model=MODEL, max_tokens=5, messages=ASK)
    body: Any = refused.value.body
    assert (body["type"], body["error"]) == ("error", {"type": kind, "message": "no"})
    assert refused.value.response.headers["x-should-retry"] == "false"


async def test_our_own_refusals_have_anthropics_shape(house: House) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await house.claude.messages.create(model="nobody", max_tokens=5, messages=ASK)
    body: Any = unknown.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    assert body["request_id"] == unknown.value.response.headers["x-request-id"]
    with pytest.raises(anthropic.BadRequestError) as wrong_wire:
        await house.claude.messages.create(model="gpt-here", max_tokens=5, messages=ASK)
    other: Any = wrong_wire.value.body
    assert other["error"]["type"] == "invalid_request_error"


async def test_the_client_knows_its_request_by_the_id(house: House) -> None:
    message = await house.claude.messages.create(model=MODEL, max_tokens=5, messages=ASK)
    assert (message._request_id or "").startswith("req_")
    with pytest.raises(anthropic.NotFoundError) as refused:
        await house.claude.models.retrieve("nobody")
    body: Any = refused.value.body
    assert refused.value.request_id == body["request_id"]


async def test_an_error_that_goes_away_is_never_seen(house: House) -> None:
    house.upstream.status = 500
    house.upstream.error_body = {"type": "error", "error": {"type": "api_error", "message": "busy"}}
    house.upstream.gate.clear()
    calling = asyncio.create_task(house.claude.messages.create(model=MODEL, max_tokens=5, messages=ASK))
    await house.upstream.came.wait()
    house.upstream.came.clear()
    house.upstream.gate.set()
    await house.upstream.came.wait()
    house.upstream.status = 200
    message: Any = await calling
    assert message.content[0].text == "hi"


async def test_models_are_listed_in_anthropics_shape(house: House) -> None:
    listed = [model async for model in house.claude.models.list()]
    assert [model.id for model in listed] == [MODEL, "gpt-here"]
    assert {model.type for model in listed} == {"model"}
    assert (await house.claude.models.retrieve(MODEL)).display_name == MODEL
    with pytest.raises(anthropic.NotFoundError):
        await house.claude.models.retrieve("nobody")


async def test_openais_beta_header_reaches_the_lines_of_a_batch_and_responses(house: House) -> None:
    beta = {"OpenAI-Beta": "new=v1"}
    line = {"custom_id": "1", "method": "POST", "url": CHAT, "body": {"model": "gpt-here", "messages": ASK}}
    file = await house.openai.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    await house.openai.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", extra_headers=beta)
    await house.upstream.came.wait()
    assert house.upstream.calls[0].headers["openai-beta"] == "new=v1"
    house.upstream.came.clear()
    job = {"model": "gpt-here", "input": "x"}
    await house.post("/v1/responses", 202, json=job, headers={**beta, "prefer": "respond-async"})
    await house.upstream.came.wait()
    assert house.upstream.calls[1].headers["openai-beta"] == "new=v1"


async def test_a_declared_header_goes_before_the_clients_and_lists_add_up() -> None:
    spec = TargetSpec(
        name="t", type=TargetType.ANTHROPIC, headers={"anthropic-beta": "ours", "Anthropic-Version": "2023-01-01"}
    )
    given = {"anthropic-beta": "theirs", "anthropic-version": "2026-10-21"}
    call = Call(job_id="j", attempt=1, endpoint=MESSAGES, body=b"{}", timeout_seconds=1, headers=given)
    assert passed_headers({"x-api-key": "k"}, spec, call) == {
        "x-api-key": "k",
        "anthropic-beta": "ours,theirs",
        "anthropic-version": "2023-01-01",
    }
