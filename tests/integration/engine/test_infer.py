"""One job through the engine: what each way of a call's end does to it."""

import msgspec
import pytest

from forebay.domain.attempt import Outcome, Usage
from forebay.domain.errors import (
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.inference import InferenceResult
from forebay.domain.job import ErrorCode, Status
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import BODY, OpenEngine


async def test_an_answer_ends_the_job_with_its_body_usage_and_cost(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t")
    engine = await open_engine(target)
    job_id = await engine.submit()
    await (await engine.worker()).run_until_idle()
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    assert job.result is not None
    assert job.result.body.text == answer().body.decode()
    assert (job.usage, job.cost_usd) == (Usage(input_tokens=3, output_tokens=2), 0.5)
    assert [(one.number, one.outcome) for one in job.attempts] == [(1, Outcome.SUCCEEDED)]


async def test_the_body_reaches_the_target_verbatim(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t")
    engine = await open_engine(target)
    body = '{ "model":"t-model",  "seed": 1.50, "text":"\\u00e9 ü" }'
    await engine.submit(body=body)
    await (await engine.worker()).run_until_idle()
    assert target.calls[0].body.decode() == body


@pytest.mark.parametrize(
    ("error", "outcome", "used"),
    [
        (TargetFailed("500", status_code=500, body=b'{"e":1}'), Outcome.UNAVAILABLE, 1),
        (TargetFailed("cut", status_code=200, body=b'{"'), Outcome.INVALID_OUTPUT, 1),
        (TargetTimeout("late"), Outcome.TIMEOUT, 1),
        (TargetThrottled("429", status_code=429, retry_after=5), Outcome.THROTTLED, 0),
        (TargetUnavailable("refused"), Outcome.UNAVAILABLE, 0),
    ],
    ids=str,
)
async def test_a_failure_that_may_pass_is_tried_again(
    open_engine: OpenEngine, error: TargetError, outcome: Outcome, used: int
) -> None:
    target = ScriptedTarget("t", [error, answer()])
    engine = await open_engine(target)
    job_id = await engine.submit()
    worker = await engine.worker()
    await worker.run_until_idle()
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used, job.attempts[0].outcome) == (Status.QUEUED, used, outcome)
    engine.clock.advance(60)
    await worker.run_until_idle()
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    assert [one.number for one in job.attempts] == [1, 2]


async def test_a_refusal_is_final_and_kept(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [TargetRejected("400: no", status_code=400, body=b'{"error":{"message":"no"}}')])
    engine = await open_engine(target)
    job_id = await engine.submit()
    await (await engine.worker()).run_until_idle()
    job = await engine.get(job_id)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.code == ErrorCode.TARGET_REJECTED
    assert job.result is not None
    assert (job.result.status_code, job.result.body.text) == (400, '{"error":{"message":"no"}}')
    assert len(target.calls) == 1


async def test_max_attempts_bounds_the_calls_that_count(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [TargetFailed("500", status_code=500, body=b"oops")])
    engine = await open_engine(target)
    job_id = await engine.submit(max_attempts=3)
    worker = await engine.worker()
    for _ in range(10):
        await worker.run_until_idle()
        engine.clock.advance(400)
    job = await engine.get(job_id)
    assert (job.status, len(target.calls)) == (Status.FAILED, 3)
    assert job.result is not None
    assert job.result.body.text == '"oops"'


async def test_throttling_uses_no_attempt_and_the_deadline_ends_the_wait(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [TargetThrottled("429", status_code=429, retry_after=30)])
    engine = await open_engine(target)
    job_id = await engine.submit(deadline=engine.clock.now() + 3600, max_attempts=2)
    worker = await engine.worker()
    for _ in range(120):
        await worker.run_until_idle()
        engine.clock.advance(33)
    await engine.services.jobs.recover()
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used) == (Status.FAILED, 0)
    assert job.error is not None
    assert job.error.code == ErrorCode.EXPIRED
    assert len(target.calls) > 2


async def test_data_that_a_tool_gave_is_held_against_the_schema_too(open_engine: OpenEngine) -> None:
    right = b'{"content":[],"structuredContent":{"label":"x"},"isError":false}'
    wrong = right.replace(b"label", b"lable")
    steps = [InferenceResult(status_code=200, body=body) for body in (wrong, right)]
    engine = await open_engine(ScriptedTarget("t", steps))
    worker = await engine.worker()
    job_id = await engine.submit(args='{"schema":{"type":"object","required":["label"]}}')
    await worker.run_until_idle()
    engine.clock.advance(5)
    await worker.run_until_idle()
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used) == (Status.SUCCEEDED, 1)
    assert "label" in (job.attempts[0].error or "")


async def test_an_output_that_does_not_fit_its_schema_is_asked_for_again_with_the_reason(
    open_engine: OpenEngine,
) -> None:
    fitting = answer('{\\"label\\":\\"good\\"}')
    target = ScriptedTarget("t", [answer("perhaps"), fitting])
    engine = await open_engine(target)
    schema = {"schema": {"type": "object", "required": ["label"]}}
    job_id = await engine.submit(args=msgspec.json.encode(schema).decode())
    worker = await engine.worker()
    await worker.run_until_idle()
    engine.clock.advance(5)
    await worker.run_until_idle()
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    assert [one.outcome for one in job.attempts] == [Outcome.INVALID_OUTPUT, Outcome.SUCCEEDED]
    assert job.usage == Usage(input_tokens=6, output_tokens=4)
    told = msgspec.json.decode(target.calls[1].body)["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "user"]
    assert "not JSON" in told[-1]["content"]


async def test_invalid_output_for_good_is_a_dead_letter_with_what_was_said(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [answer("never json")])
    engine = await open_engine(target)
    job_id = await engine.submit(args='{"schema":{"type":"object"}}', max_attempts=2)
    worker = await engine.worker()
    for _ in range(5):
        await worker.run_until_idle()
        engine.clock.advance(5)
    job = await engine.get(job_id)
    assert job.error is not None
    assert (job.status, job.error.code, len(target.calls)) == (Status.FAILED, ErrorCode.INVALID_OUTPUT, 2)
    assert job.result is not None


async def test_a_binary_answer_becomes_a_file(open_engine: OpenEngine) -> None:
    speech = InferenceResult(status_code=200, body=b"RIFF\x00\x01", content_type="audio/wav")
    engine = await open_engine(ScriptedTarget("t", [speech]))
    job_id = await engine.submit(endpoint="/v1/audio/speech")
    await (await engine.worker()).run_until_idle()
    job = await engine.get(job_id)
    assert job.result is not None
    body = msgspec.json.decode(job.result.body.text or "")
    assert (body["object"], body["content_type"], body["bytes"]) == ("file", "audio/wav", 6)
    record = await engine.services.records.get("default", "file", body["file_id"])
    assert record is not None
    stored = b"".join([chunk async for chunk in engine.services.blobs.read(record.blobs[0])])
    assert stored == b"RIFF\x00\x01"


async def test_a_large_body_and_a_large_answer_go_through_blobs_unchanged(open_engine: OpenEngine) -> None:
    large = answer("x" * 200_000)
    target = ScriptedTarget("t", [large])
    engine = await open_engine(target)
    body = BODY.replace("Hello", "ü" * 100_000)
    job_id = await engine.submit(body=body)
    await (await engine.worker()).run_until_idle()
    job = await engine.get(job_id)
    assert target.calls[0].body.decode() == body
    assert job.result is not None
    blob_id = job.result.body.blob_id
    assert blob_id is not None
    assert b"".join([chunk async for chunk in engine.services.blobs.read(blob_id)]) == large.body


async def test_a_handler_that_raises_uses_an_attempt_and_says_so(open_engine: OpenEngine) -> None:
    def explode(_call: object) -> InferenceResult:
        raise RuntimeError("a bug")

    engine = await open_engine(ScriptedTarget("t", [explode]))
    job_id = await engine.submit(max_attempts=1)
    await (await engine.worker()).run_until_idle()
    job = await engine.get(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, ErrorCode.INTERNAL)
    assert job.attempts[0].outcome is not Outcome.RUNNING
