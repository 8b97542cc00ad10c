"""OpenAI's batches, end to end: the official client, the server, the store, a worker, and a mock model."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from tests.integration.batch_house import CHAT, House, request, running_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as running:
        yield running


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[House]:
    """No worker: batches stay as they are made."""
    async with running_house(tmp_path, is_working=False) as running:
        yield running


async def test_a_batch_of_the_official_client_is_completed_with_every_line(house: House) -> None:
    data = b"".join(request(f"r{number}") for number in range(300))
    made = await house.batch(data, metadata={"who": "me"})
    assert (made.status, made.object, made.metadata) == ("validating", "batch", {"who": "me"})
    done = await house.ended(made.id)
    assert done.status == "completed"
    counts = done.request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (300, 300, 0)
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0
    assert None not in (done.in_progress_at, done.finalizing_at, done.completed_at, done.expires_at)
    assert (done.error_file_id, done.failed_at, done.cancelled_at, done.expired_at) == (None, None, None, None)
    lines = await house.lines(done.output_file_id)
    assert sorted(line["custom_id"] for line in lines) == sorted(f"r{number}" for number in range(300))
    assert all(line["error"] is None and line["response"]["status_code"] == 200 for line in lines)
    assert len({line["id"] for line in lines}) == 300
    file = await house.openai.files.retrieve(done.output_file_id or "")
    assert (file.purpose, file.bytes > 0) == ("batch_output", True)


async def test_a_refused_line_stands_in_the_error_file_and_can_be_retried_as_a_new_batch(house: House) -> None:
    data = request("good") + request("bad", "[[fault:422]]")
    done = await house.ended((await house.batch(data)).id)
    assert done.status == "completed"
    assert done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    [error] = await house.lines(done.error_file_id)
    assert (error["custom_id"], error["response"]["status_code"], error["error"]) == ("bad", 422, None)
    assert [line["custom_id"] for line in await house.lines(done.output_file_id)] == ["good"]
    async with house.http.post(f"/v1/batches/{done.id}/retry") as reply:
        assert reply.status == 200, await reply.text()
        again = await reply.json()
    assert again["metadata"] == {"retry_of": done.id}
    sent = await house.lines(again["input_file_id"])
    assert [line["custom_id"] for line in sent] == ["bad"]
    ended = await house.ended(again["id"])
    assert ended.output_file_id is None
    async with house.http.get(f"/batches/{done.id}/results") as reply:
        assert [json.loads(line)["custom_id"] for line in (await reply.text()).splitlines()] == ["good", "bad"]


async def test_a_bad_file_fails_the_batch_with_all_its_errors(house: House) -> None:
    data = (
        request("a")
        + b"{not json\n"
        + request("a")
        + request("b", model="unknown")
        + json.dumps({"custom_id": "c", "method": "GET", "url": "/v1/embeddings", "body": {"stream": True}}).encode()
    )
    failed = await house.ended((await house.batch(data)).id)
    assert failed.status == "failed"
    assert failed.errors is not None
    found = {(error.line, error.code, error.param) for error in failed.errors.data or []}
    assert found == {
        (2, "invalid_json_line", None),
        (3, "duplicate_custom_id", "custom_id"),
        (4, "model_not_found", "body.model"),
        (5, "invalid_method", "method"),
        (5, "mismatched_url", "url"),
        (5, "streaming_unsupported", "body.stream"),
        (5, "missing_required_parameter", "body.model"),
    }
    assert (failed.output_file_id, failed.error_file_id) == (None, None)


async def test_an_unknown_file_fails_the_batch_and_not_the_request(house: House) -> None:
    made = await house.openai.batches.create(input_file_id="file-none", endpoint=CHAT, completion_window="24h")
    failed = await house.ended(made.id)
    assert failed.errors is not None
    assert [(error.code, error.param) for error in failed.errors.data or []] == [("invalid_request", "file_id")]


async def test_a_cancelled_batch_has_a_line_for_every_request(idle: House) -> None:
    made = await idle.batch(request("a") + request("b"))
    cancelling = await idle.openai.batches.cancel(made.id)
    assert cancelling.status == "cancelling"
    assert cancelling.cancelling_at is not None
    assert (await idle.openai.batches.cancel(made.id)).status == "cancelling"
    async with idle.system.worker():
        ended = await idle.ended(made.id)
    assert (ended.status, ended.output_file_id) == ("cancelled", None)
    assert ended.cancelled_at is not None
    assert ended.request_counts is not None
    assert (ended.request_counts.total, ended.request_counts.failed) == (2, 2)
    lines = await idle.lines(ended.error_file_id)
    assert [(line["custom_id"], line["error"]["code"]) for line in lines] == [
        ("a", "batch_cancelled"),
        ("b", "batch_cancelled"),
    ]
    assert (await idle.openai.batches.cancel(made.id)).status == "cancelled"


async def test_cancelling_a_completed_batch_is_a_conflict_that_no_sdk_repeats(house: House) -> None:
    done = await house.ended((await house.batch(request("a"))).id)
    with pytest.raises(openai.ConflictError) as caught:
        await house.openai.batches.cancel(done.id)
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_an_ended_batch_is_never_queued_again_as_a_job(house: House) -> None:
    broken = await house.ended((await house.batch(b"no json")).id)
    job_id = "job_" + broken.id.removeprefix("batch_")
    async with house.http.post(f"/v1/jobs/{job_id}/retry") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (409, "is_batch")
    async with house.http.post("/v1/dead-letters/retry", json={"all": True}) as reply:
        assert await reply.json() == {"object": "list", "data": [], "retried": 0, "has_more": False}
    async with house.http.post("/v1/dead-letters/retry", json={"ids": [job_id]}) as reply:
        assert (await reply.json())["data"][0]["error"]["code"] == "is_batch"
    assert (await house.ended(broken.id)).status == "failed"


async def test_what_cannot_be_a_batch_is_refused(idle: House) -> None:
    file_id = await idle.upload(request("a"))
    good = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    for change, param in (
        ({"endpoint": "/v1/unknown"}, "endpoint"),
        ({"completion_window": "31d"}, "completion_window"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {"forebay_budget_usd": "much"}}, "metadata.forebay_budget_usd"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
    ):
        async with idle.http.post("/v1/batches", json=good | change) as reply:
            error = (await reply.json())["error"]
            assert (reply.status, error["code"], error["param"]) == (400, "invalid_value", param)
    async with idle.http.post("/v1/batches", json=good | {"completion_window": "90m", "future": 1}) as reply:
        assert reply.status == 200
        made = await reply.json()
        assert made["expires_at"] - made["created_at"] == 5400
    with pytest.raises(openai.NotFoundError):
        await idle.openai.batches.retrieve("batch_none")


async def test_a_repeat_of_a_create_gets_the_same_batch(idle: House) -> None:
    file_id = await idle.upload(request("a"))
    body = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}

    async def create(headers: dict[str, str], **change: str) -> tuple[int, str | None, str | None]:
        async with idle.http.post("/v1/batches", json=body | change, headers=headers) as reply:
            answer = await reply.json()
            return reply.status, answer.get("id"), reply.headers.get("idempotent-replayed")

    first = await create({"Idempotency-Key": "k"})
    assert await create({"Idempotency-Key": "k"}) == (200, first[1], "true")
    assert (await create({"Idempotency-Key": "k"}, completion_window="1h"))[0] == 409
    sdk = await create({"x-stainless-retry-count": "0"})
    assert await create({"x-stainless-retry-count": "1"}) == (200, sdk[1], "true")
    assert (await create({"x-stainless-retry-count": "0"}))[1] != sdk[1]


async def test_lists_are_newest_first_and_paged(idle: House) -> None:
    made = [(await idle.batch(request("a"))).id for _ in range(3)]
    page = await idle.openai.batches.list(limit=2)
    assert [batch.id for batch in page.data] == [made[2], made[1]]
    assert page.has_more
    assert [batch.id async for batch in idle.openai.batches.list(limit=2)] == made[::-1]


async def test_a_budget_that_is_used_up_fails_the_rest(house: House) -> None:
    done = await house.ended((await house.batch(request("a"), metadata={"forebay_budget_usd": "0"})).id)
    [line] = await house.lines(done.error_file_id)
    assert line["response"] is None
    assert line["error"]["code"] in {"budget_exceeded", "price_unknown"}
