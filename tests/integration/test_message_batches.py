"""Anthropic's message batches with the official client, unmodified but for its base URL."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from forebay.domain.batch import MESSAGE_BATCH, BatchArgs, message_batch_id
from forebay.engine.handlers.batch import BatchOrder, make_batch
from forebay.policy.resolution import MESSAGES
from tests.integration.message_house import ASK, MODEL, House, entry, params, running_house

BATCHES = "/v1/messages/batches"


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as running:
        yield running


@pytest.fixture
async def idle_house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path, is_working=False) as running:
        yield running


async def test_a_batch_is_run_and_its_results_are_streamed(house: House) -> None:
    made = await house.claude.messages.batches.create(requests=[entry(f"line-{n}") for n in range(25)])
    assert made.id.startswith("msgbatch_")
    assert (made.type, made.processing_status, made.results_url) == ("message_batch", "in_progress", None)
    assert sum(made.request_counts.to_dict().values()) == 25  # type: ignore[arg-type]
    assert (made.expires_at - made.created_at).total_seconds() == pytest.approx(86_400)
    ended = await house.until(made.id)
    assert ended.request_counts.succeeded == 25
    assert ended.ended_at is not None
    results = await house.results(made.id)
    assert set(results) == {f"line-{n}" for n in range(25)}
    assert {result.type for result in results.values()} == {"succeeded"}
    assert results["line-3"].message.content[0].text == "hi"


async def test_a_batchs_call_is_its_params_verbatim(house: House) -> None:
    given = '{"max_tokens" : 9, "top_p": 1.0e-1,\n "model":"claude-here", "messages":[]}'
    body = f'{{"requests": [ {{"params": {given}, "custom_id":"a"}} ], "x": 1}}'
    made = await house.post(BATCHES, 200, data=body)
    await house.until(made["id"])
    assert house.upstream.calls[0].body == given.replace("\n", " ").encode()


async def test_what_the_model_refuses_is_errored_in_its_own_words(house: House) -> None:
    house.upstream.status = 400
    house.upstream.error_body = {"type": "error", "error": {"type": "invalid_request_error", "message": "too odd"}}
    made = await house.claude.messages.batches.create(requests=[entry("odd")])
    ended = await house.until(made.id)
    assert ended.request_counts.errored == 1
    result = (await house.results(made.id))["odd"]
    assert (result.type, result.error.type) == ("errored", "error")
    assert (result.error.error.type, result.error.error.message) == ("invalid_request_error", "too odd")


async def test_a_model_that_nobody_serves_fails_its_own_request_alone(house: House) -> None:
    made = await house.claude.messages.batches.create(requests=[entry("good"), entry("bad", model="nobody")])
    ended = await house.until(made.id)
    assert (ended.request_counts.succeeded, ended.request_counts.errored) == (1, 1)
    results = await house.results(made.id)
    assert results["good"].type == "succeeded"
    assert results["bad"].error.error.type == "not_found_error"


async def test_a_cancelled_batch_keeps_what_was_paid_for(tmp_path: Path) -> None:
    async with running_house(tmp_path, is_open=False, concurrency=1) as house:
        made = await house.claude.messages.batches.create(requests=[entry(f"n{n}") for n in range(5)])
        await house.upstream.came.wait()
        asked = await house.claude.messages.batches.cancel(made.id)
        assert asked.processing_status == "canceling"
        assert asked.cancel_initiated_at is not None
        again = await house.claude.messages.batches.cancel(made.id)
        assert again.cancel_initiated_at == asked.cancel_initiated_at
        with pytest.raises(anthropic.ConflictError) as early:
            await house.claude.messages.batches.delete(made.id)
        assert early.value.response.headers["x-should-retry"] == "false"
        house.upstream.gate.set()
        ended = await house.until(made.id)
        counts = ended.request_counts
        assert (counts.succeeded, counts.canceled, counts.processing, counts.errored) == (1, 4, 0, 0)
        results = await house.results(made.id)
        assert sorted(result.type for result in results.values()) == ["canceled"] * 4 + ["succeeded"]
        assert (await house.claude.messages.batches.cancel(made.id)).processing_status == "ended"


async def test_a_batch_past_its_time_tells_what_expired(tmp_path: Path) -> None:
    async with running_house(tmp_path, is_open=False, concurrency=1) as house:
        services = house.system.services
        lines = [{"custom_id": f"n{n}", "method": "POST", "url": MESSAGES, "body": params()} for n in range(3)]
        info = await services.blobs.write(pieces("".join(json.dumps(line) + "\n" for line in lines).encode()))
        args = BatchArgs(input_file_id="", input_blob_id=info.id, endpoint=MESSAGES, requests=3, is_each_alone=True)
        job = await make_batch(BatchOrder(args=args, lifespan_seconds=0.5, kind=MESSAGE_BATCH), services)
        await services.jobs.add([job])
        ended = await house.until(message_batch_id(job.id))
        counts = ended.request_counts
        assert (counts.expired, counts.processing, counts.errored, counts.succeeded) == (3, 0, 0, 0)
        assert {result.type for result in (await house.results(ended.id)).values()} == {"expired"}


async def test_counts_are_live(tmp_path: Path) -> None:
    async with running_house(tmp_path, is_open=False) as house:
        made = await house.claude.messages.batches.create(requests=[entry("a"), entry("b")])
        await house.upstream.came.wait()
        running = await house.claude.messages.batches.retrieve(made.id)
        assert (running.request_counts.processing, running.request_counts.succeeded) == (2, 0)
        assert running.results_url is None
        with pytest.raises(anthropic.AnthropicError, match="results_url"):
            await house.claude.messages.batches.results(made.id)
        async with house.http.get(f"{BATCHES}/{made.id}/results") as reply:
            assert (reply.status, reply.headers["x-incomplete"], await reply.text()) == (200, "true", "")


async def test_an_ended_batch_cannot_be_cancelled_and_can_be_deleted(house: House) -> None:
    batches = house.claude.messages.batches
    made = await batches.create(requests=[entry("a"), entry("bad", model="nobody")])
    await house.until(made.id)
    with pytest.raises(anthropic.ConflictError) as late:
        await batches.cancel(made.id)
    assert late.value.response.headers["x-should-retry"] == "false"
    gone = await batches.delete(made.id)
    assert (gone.id, gone.type) == (made.id, "message_batch_deleted")
    for call in (batches.retrieve, batches.cancel, batches.delete, batches.results):
        with pytest.raises(anthropic.NotFoundError):
            await call(made.id)
    assert [one.id async for one in batches.list()] == []


async def test_lists_go_on_from_either_end(idle_house: House) -> None:
    batches = idle_house.claude.messages.batches
    made = [(await batches.create(requests=[entry("a")])).id for _ in range(7)]
    newest_first = made[::-1]
    assert [one.id async for one in await batches.list(limit=3)] == newest_first
    first = await batches.list(limit=3)
    assert ([one.id for one in first.data], first.has_more) == (newest_first[:3], True)
    assert (first.first_id, first.last_id) == (newest_first[0], newest_first[2])
    before = await batches.list(before_id=newest_first[4], limit=3)
    assert ([one.id for one in before.data], before.has_more) == (newest_first[1:4], True)
    assert [one.id async for one in await batches.list(before_id=newest_first[6], limit=2)] == [
        newest_first[place] for place in (4, 5, 2, 3, 0, 1)
    ]
    with pytest.raises(anthropic.BadRequestError):
        await batches.list(after_id="batch_x")


async def test_each_wire_sees_its_own_batches_alone(idle_house: House) -> None:
    message_batch = await idle_house.claude.messages.batches.create(requests=[entry("a")])
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-here"}}
    file = await idle_house.openai.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = await idle_house.openai.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert [one.id async for one in idle_house.claude.messages.batches.list()] == [message_batch.id]
    assert [one.id async for one in idle_house.openai.batches.list()] == [batch.id]
    for named in (batch.id, batch.id.replace("batch_", "msgbatch_")):
        with pytest.raises(anthropic.NotFoundError):
            await idle_house.claude.messages.batches.retrieve(named)
    for named in (message_batch.id, message_batch.id.replace("msgbatch_", "batch_")):
        with pytest.raises(openai.NotFoundError):
            await idle_house.openai.batches.retrieve(named)
    async with idle_house.http.get("/v1/jobs") as reply:
        jobs = (await reply.json())["data"]
    assert [job["kind"] for job in jobs] == ["batch", "message_batch"]
    assert [one.id async for one in idle_house.openai.files.list()] == [file.id]


BAD: list[tuple[Any, str, str]] = [
    ([], "requests", "at least one"),
    ([entry("has space")], "requests.0.custom_id", "letters"),
    ([entry("x" * 65)], "requests.0.custom_id", "64"),
    ([entry("ok"), {"custom_id": 3, "params": {}}], "requests.1.custom_id", "str"),
    ([{"custom_id": "a"}], "requests.0.params", "missing"),
    ([entry("a", max_tokens=0)], "requests.0.params.max_tokens", "1"),
    ([entry("a"), entry("b", max_tokens="x")], "requests.1.params.max_tokens", "int"),
    ([entry("a", stream=True)], "requests.0.params.stream", "streaming"),
    ([entry("a"), entry("b"), entry("a")], "requests.2.custom_id", "unique"),
    ([{"custom_id": "a", "params": {"model": MODEL, "max_tokens": 1}}], "requests.0.params.messages", "missing"),
]


@pytest.mark.parametrize(("requests", "param", "words"), BAD)
async def test_a_bad_request_is_refused_with_its_place(
    idle_house: House, requests: Any, param: str, words: str
) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        await idle_house.claude.messages.batches.create(requests=requests)
    body: Any = refused.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert body["error"]["param"] == param
    assert param in body["error"]["message"]
    assert words in body["error"]["message"]
    assert body["request_id"] == refused.value.response.headers["x-request-id"]
    assert [one async for one in idle_house.claude.messages.batches.list()] == []


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"requests": {}}', '{"requests": [1 2]}', '{"other": 1}', '{"requests": [], "x": nul}']
)
async def test_a_body_that_is_no_batch_is_refused(idle_house: House, body: str) -> None:
    refused = await idle_house.post(BATCHES, 400, data=body)
    assert refused["error"]["type"] == "invalid_request_error"


async def test_bounds_are_settings(tmp_path: Path) -> None:
    async with running_house(tmp_path, is_working=False, max_batch_lines=2, max_batch_bytes=1_000) as house:
        with pytest.raises(anthropic.BadRequestError, match="max_batch_lines"):
            await house.claude.messages.batches.create(requests=[entry("a"), entry("b"), entry("c")])
        with pytest.raises(anthropic.RequestTooLargeError) as refused:
            await house.claude.messages.batches.create(requests=[entry("a", system="x" * 2_000)])
        body: Any = refused.value.body
        assert body["error"]["type"] == "request_too_large"


async def test_a_repeat_under_one_key_is_one_batch(idle_house: House) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await idle_house.post(BATCHES, 200, json={"requests": [entry("a")]}, headers=key)
    spaced = json.dumps({"requests": [{"params": params(), "custom_id": "a"}]}, indent=3)
    async with idle_house.http.post(BATCHES, data=spaced, headers=key) as reply:
        assert (reply.status, reply.headers["idempotent-replayed"]) == (200, "true")
        assert (await reply.json())["id"] == first["id"]
    async with idle_house.http.post(BATCHES, json={"requests": [entry("b")]}, headers=key) as reply:
        assert (reply.status, reply.headers["x-should-retry"]) == (409, "false")
    beta = {**key, "anthropic-beta": "other-2026"}
    await idle_house.post(BATCHES, 409, json={"requests": [entry("a")]}, headers=beta)


async def test_the_bodys_own_key_stands_wherever_it_is(idle_house: House) -> None:
    requests = json.dumps([entry("a")])
    first = await idle_house.post(BATCHES, 200, data=f'{{"requests": {requests}, "idempotency_key": "k"}}')
    again = await idle_house.post(BATCHES, 200, data=f'{{"idempotency_key": "k", "requests": {requests}}}')
    assert first["id"] == again["id"]
    await idle_house.post(BATCHES, 400, data=f'{{"idempotency_key": 3, "requests": {requests}}}')


async def test_as_a_job_a_message_batch_is_read_and_not_retried(house: House) -> None:
    made = await house.claude.messages.batches.create(requests=[entry("a", model="nobody")])
    await house.until(made.id)
    job_id = made.id.replace("msgbatch_", "job_")
    async with house.http.get(f"/v1/jobs/{job_id}") as reply:
        job = await reply.json()
    assert (job["kind"], job["status"], job["result"]["body"]["failed"]) == ("message_batch", "succeeded", 1)
    refused = await house.post(f"/v1/jobs/{job_id}/retry", 409)
    assert refused["error"]["code"] == "is_batch"


async def test_an_sdks_own_repeat_joins_the_first(idle_house: House) -> None:
    body = {"requests": [entry("a")]}
    first = await idle_house.post(BATCHES, 200, json=body, headers={"x-stainless-retry-count": "0"})
    second = await idle_house.post(BATCHES, 200, json=body, headers={"x-stainless-retry-count": "1"})
    other = await idle_house.post(BATCHES, 200, json=body, headers={"x-stainless-retry-count": "0"})
    assert first["id"] == second["id"] != other["id"]


async def test_the_beta_client_has_its_headers_and_query_passed_on(house: House) -> None:
    made = await house.claude.beta.messages.batches.create(
        requests=[{"custom_id": "a", "params": {"model": MODEL, "max_tokens": 5, "messages": ASK}}],
        betas=["new-thing-2026"],
        extra_query={"beta": "true"},
    )
    await house.until(made.id)
    [call] = house.upstream.calls
    assert (call.path, call.query) == ("/v1/messages", "beta=true")
    assert "new-thing-2026" in call.headers["anthropic-beta"]
    assert call.headers["x-api-key"] == "up-key"
