"""Responses through the engine: numbered durable events over attempts, and what is not to be stored."""

import pytest

from forebay.domain.errors import TargetFailed, TargetThrottled
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.job import Status
from forebay.domain.query import JobQuery
from forebay.domain.response import ENDPOINT, ResponseArgs, encode_args
from forebay.engine.handlers.erase import ERASE, KEPT_SECONDS, NOTICE
from forebay.policy.responses_stream import CUT, FIRST, IN_PROGRESS, events_in, numbered
from forebay.ports import StreamSink
from forebay.testing.targets import ScriptedTarget

from .conftest import Engine, OpenEngine

BODY = '{"model":"t-model","input":"Hello"}'
RESPONSE = '{"id":"resp_theirs","object":"response","status":"completed","output":[]}'
DELTA = {"type": "response.output_text.delta", "delta": "x", "sequence_number": 99}


class Streaming(ScriptedTarget):
    """Says so much of its stream, and then what the script says."""

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        assert sink is not None
        await sink.write('data: {"type": "x\\n\\nevent: y"}\n\ndata: {"no": "type"}\n\n')  # no events of this wire
        for event in ({"type": "response.created"}, DELTA, DELTA, {"type": "response.completed"}):
            await sink.write(numbered(event, 7))
        return await super().call(call)


def whole() -> InferenceResult:
    return InferenceResult(status_code=200, body=RESPONSE.encode())


async def submit(engine: Engine, *, is_background: bool = True) -> str:
    args = encode_args(ResponseArgs(is_background=is_background))
    return await engine.submit(body=BODY, endpoint=ENDPOINT, is_stream=True, args=args)


async def told(engine: Engine, job_id: str) -> list[tuple[int, str]]:
    chunks = await engine.services.jobs.read(job_id)
    return [(event["sequence_number"], event["type"]) for chunk in chunks for event in events_in(chunk.text)]


async def run(engine: Engine) -> None:
    worker = await engine.worker()
    await worker.run_until_idle()


async def test_only_what_an_attempt_says_is_durable_and_numbered_by_us(open_engine: OpenEngine) -> None:
    engine = await open_engine(Streaming("t", [whole()]))
    job_id = await submit(engine, is_background=False)
    await run(engine)
    assert await told(engine, job_id) == [(FIRST, DELTA["type"]), (FIRST + 1, DELTA["type"])]


async def test_numbers_go_on_over_attempts_and_a_cut_is_told(open_engine: OpenEngine) -> None:
    engine = await open_engine(Streaming("t", [TargetFailed("cut", status_code=200), whole()]))
    job_id = await submit(engine)
    for _ in range(2):
        await run(engine)
        engine.clock.advance(60)
    assert (await engine.get(job_id)).status is Status.SUCCEEDED
    delta = DELTA["type"]
    assert await told(engine, job_id) == list(
        enumerate([IN_PROGRESS, delta, delta, CUT, IN_PROGRESS, delta, delta], start=FIRST)
    )


async def test_attempts_that_said_nothing_leave_nothing(open_engine: OpenEngine) -> None:
    throttled = TargetThrottled("429", status_code=429, retry_after=5)
    engine = await open_engine(ScriptedTarget("t", [throttled, throttled, whole()]))
    job_id = await submit(engine)
    for _ in range(3):
        await run(engine)
        engine.clock.advance(3_600)
    assert (await engine.get(job_id)).status is Status.SUCCEEDED
    kinds = [kind for _, kind in await told(engine, job_id)]
    assert kinds.count(IN_PROGRESS) == 1
    assert CUT not in kinds


@pytest.mark.parametrize("is_background", [True, False])
async def test_only_in_the_background_a_cut_stream_begins_again(
    open_engine: OpenEngine, *, is_background: bool
) -> None:
    engine = await open_engine(Streaming("t", [TargetFailed("cut", status_code=200), whole()]))
    job_id = await submit(engine, is_background=is_background)
    await run(engine)
    expected = Status.QUEUED if is_background else Status.FAILED
    assert (await engine.get(job_id)).status is expected


async def test_what_is_not_to_be_stored_goes_ten_minutes_after_the_end(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t", [whole()]))
    job_id = await engine.submit(body=BODY, endpoint=ENDPOINT, on_end=(NOTICE,), args=encode_args(ResponseArgs()))
    await run(engine)
    engine.clock.advance(KEPT_SECONDS - 1)
    await run(engine)
    assert (await engine.get(job_id)).result is not None
    engine.clock.advance(2)
    await run(engine)
    gone = await engine.get(job_id)
    assert (gone.body, gone.result, gone.status) == (None, None, Status.SUCCEEDED)
    notices = await engine.services.jobs.find(JobQuery(tenant="default", kinds=frozenset({ERASE})))
    assert [notice.status for notice in notices] == [Status.SUCCEEDED]
