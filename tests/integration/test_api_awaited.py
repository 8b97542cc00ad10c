"""Model endpoints whose clients wait for the answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.job import ErrorCode
from forebay.domain.stored import StoredRecord
from forebay.engine.intake import store_bytes
from tests.integration.api_server import ANSWER, CHAT, MESSAGE, Server, running_server

MESSAGES = {"model": "claude-3", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def call(
    server: Server, path: str = "/v1/chat/completions", body: Any = None, **headers: str
) -> tuple[int, str, Any]:
    data = json.dumps(body or CHAT).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with server.http.post(path, data=data, headers=sent) as reply:
        return reply.status, await reply.text(), reply.headers


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses",
     "/v1/images/generations", "/v1/moderations", "/v1/rerank"],
)  # fmt: skip
async def test_the_answer_is_the_models_own(server: Server, path: str) -> None:
    calling = asyncio.create_task(call(server, path))
    claimed = await server.hand.take()
    await server.hand.succeed(claimed)
    status, text, headers = await calling
    assert (status, text) == (200, ANSWER)
    assert headers["x-forebay-job-id"] == claimed.job.id
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    assert claimed.job.awaited
    assert claimed.job.spec.endpoint == "/v1/" + path.removeprefix("/v1").lstrip("/")
    assert claimed.job.body is not None
    assert claimed.job.body.text == json.dumps(CHAT)


async def test_an_awaited_call_goes_before_queued_work(server: Server) -> None:
    await server.submit(priority=100)
    calling = asyncio.create_task(call(server))
    await server.queued(2)
    claimed = await server.hand.take()
    assert claimed.job.awaited
    await server.hand.succeed(claimed)
    await calling


async def test_the_models_refusal_is_passed_on_and_not_to_be_retried(server: Server) -> None:
    calling = asyncio.create_task(call(server))
    refusal = '{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context"}}'
    await server.hand.fail(await server.hand.take(), body=refusal, status_code=422)
    status, text, headers = await calling
    assert (status, text, headers["x-should-retry"]) == (422, refusal, "false")


async def test_a_refusal_in_no_known_shape_is_put_into_the_envelope(server: Server) -> None:
    calling = asyncio.create_task(call(server))
    await server.hand.fail(await server.hand.take(), body='"<html>no</html>"', status_code=403)
    status, text, _ = await calling
    assert status == 403
    assert json.loads(text)["error"]["code"] == "target_rejected"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.TARGET_REJECTED, 502),
        (ErrorCode.TARGET_UNAVAILABLE, 503),
        (ErrorCode.TARGET_TIMEOUT, 504),
        (ErrorCode.EXPIRED, 504),
        (ErrorCode.INVALID_OUTPUT, 502),
        (ErrorCode.BUDGET_EXCEEDED, 402),
        (ErrorCode.INTERNAL, 500),
        ("something_new", 502),
    ],
)
async def test_a_failure_without_the_models_words_has_a_status_of_ours(server: Server, code: str, status: int) -> None:
    calling = asyncio.create_task(call(server))
    await server.hand.fail(await server.hand.take(), code=code)
    given, text, headers = await calling
    assert (given, headers["x-should-retry"]) == (status, "false")
    assert json.loads(text)["error"]["code"] == code
    assert headers["x-forebay-job-id"]


async def test_a_cancelled_call_is_told_so(server: Server) -> None:
    calling = asyncio.create_task(call(server, x_stainless_retry_count="0"))
    [job_id] = await server.queued(1)
    await server.post(f"/v1/jobs/{job_id}/cancel")
    status, text, headers = await calling
    assert (status, headers["x-should-retry"]) == (409, "false")
    assert json.loads(text)["error"]["code"] == "cancelled"


async def test_anthropics_clients_get_errors_in_their_shape(server: Server) -> None:
    calling = asyncio.create_task(call(server, "/v1/messages", MESSAGES))
    await server.hand.fail(await server.hand.take(), code=ErrorCode.TARGET_UNAVAILABLE)
    status, text, _ = await calling
    refused = json.loads(text)
    assert status == 503
    assert (refused["type"], refused["error"]["type"]) == ("error", "overloaded_error")
    assert refused["request_id"].startswith("req_")


async def test_anthropics_answer_is_passed_on(server: Server) -> None:
    calling = asyncio.create_task(call(server, "/v1/messages", MESSAGES))
    await server.hand.succeed(await server.hand.take(), MESSAGE)
    status, text, _ = await calling
    assert (status, text) == (200, MESSAGE)


async def test_respond_async_answers_at_once_with_the_job(server: Server) -> None:
    status, text, headers = await call(server, prefer="respond-async")
    job = json.loads(text)
    assert (status, job["status"], job["object"]) == (202, "queued", "job")
    assert headers["location"] == f"/v1/jobs/{job['id']}"
    assert headers["preference-applied"] == "respond-async"
    assert headers["x-forebay-job-id"] == job["id"]
    claimed = await server.hand.take()
    assert not claimed.job.awaited


async def test_respond_async_with_a_wait_answers_with_what_came_first(server: Server) -> None:
    calling = asyncio.create_task(call(server, prefer='respond-async, wait="30"'))
    await server.hand.succeed(await server.hand.take())
    status, text, headers = await calling
    assert (status, text) == (200, ANSWER)
    assert headers["preference-applied"] == "respond-async, wait=30"
    status, text, headers = await call(server, prefer="wait=1, respond-async")
    assert (status, json.loads(text)["status"]) == (202, "queued")


async def test_the_job_goes_on_when_its_client_goes_away(server: Server) -> None:
    calling = asyncio.create_task(call(server))
    claimed = await server.hand.take()
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await server.hand.succeed(claimed)
    assert (await server.get(f"/v1/jobs/{claimed.job.id}"))["status"] == "succeeded"


async def test_a_stopping_server_sends_waiting_clients_to_try_again(server: Server) -> None:
    calling = asyncio.create_task(call(server))
    await server.hand.take()
    server.serving.cancel()
    async with asyncio.timeout(120):
        status, text, headers = await calling
    assert (status, headers["x-should-retry"], headers["retry-after"]) == (503, "true", "1")
    assert json.loads(text)["error"]["code"] == "server_stopping"


async def test_a_binary_result_comes_as_bytes_with_its_type(server: Server) -> None:
    services = server.services
    calling = asyncio.create_task(server.http.post("/v1/audio/speech", json={"model": "gpt-model", "input": "hello"}))
    claimed = await server.hand.take()
    blob = await store_bytes(b"\x00\x01mp3" * 1000, services.blobs)
    data = json.dumps({"blob_id": blob.blob_id, "filename": "a.mp3"})
    await services.records.put(StoredRecord(kind="file", id="file-1", data=data, blobs=(blob.blob_id or "",)))
    body = {"object": "file", "file_id": "file-1", "content_type": "audio/mpeg", "bytes": blob.bytes}
    await server.hand.succeed(claimed, json.dumps(body))
    async with await calling as reply:
        assert reply.headers["content-type"] == "audio/mpeg"
        assert reply.headers["content-length"] == str(blob.bytes)
        assert await reply.read() == b"\x00\x01mp3" * 1000
    assert (await server.get(f"/v1/jobs/{claimed.job.id}"))["result"]["body"] == body


async def test_an_unknown_model_is_a_404_at_once(server: Server) -> None:
    status, text, _ = await call(server, body={**CHAT, "model": "nobody"})
    assert (status, json.loads(text)["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"model": 5}', b"\xff", b"null"])
async def test_a_request_that_is_no_object_is_refused(server: Server, data: bytes) -> None:
    refused = await server.post("/v1/chat/completions", 400, data=data)
    assert refused["error"]["type"] == "invalid_request_error"


async def test_a_form_that_ends_too_soon_is_refused(server: Server) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    refused = await server.post("/v1/audio/transcriptions", 400, data=b"--x\r\n", headers=headers)
    assert refused["error"]["code"] == "invalid_multipart"
