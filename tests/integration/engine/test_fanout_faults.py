"""Fan-outs in trouble: targets that hang, answer garbage or are unknown; retries, deadlines, large answers."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from forebay.domain.content import INLINE_LIMIT_BYTES
from forebay.domain.errors import TargetRejected
from forebay.domain.fanout import Aggregation, Branch, FanoutArgs, How, OnFailure
from forebay.domain.inference import InferenceResult
from forebay.domain.job import ErrorCode, Status
from forebay.domain.order import Order
from forebay.domain.query import JobQuery
from forebay.domain.target import TargetType
from forebay.engine.fanouts import make_fanout
from forebay.engine.intake import load_text
from forebay.testing.targets import ScriptedTarget, answer
from forebay.testing.wire_faults import answers, hangs

from .conftest import BODY, Engine, OpenEngine
from .wire import PROMPT, wired

REFUSED = TargetRejected("no", status_code=400)
FORK = '{"event": {}}'


def _branches(*names: str, **fields: Any) -> tuple[Branch, ...]:
    return tuple(Branch(name=name, target=name, **fields) for name in names)


async def _submit(engine: Engine, args: FanoutArgs, body: str = BODY, **fields: Any) -> str:
    job = await make_fanout(Order(body=body, fanout=args, **fields), engine.services)
    [added] = await engine.services.jobs.add([job])
    return added.id


async def _idle(engine: Engine) -> None:
    await asyncio.wait_for((await engine.worker()).run_until_idle(), 120)


async def _document(engine: Engine, job_id: str) -> dict[str, Any]:
    job = await engine.get(job_id)
    assert job.result is not None, job.error
    document: dict[str, Any] = msgspec.json.decode(await load_text(job.result.body, engine.services.blobs))
    return document


async def _children(engine: Engine, job_id: str) -> dict[str, str]:
    found = await engine.services.jobs.find(JobQuery(tenant="default", parent_id=job_id, is_ascending=True))
    return {child.key.partition(":")[2] or child.key: child.id for child in found}


async def test_a_target_that_hangs_or_answers_garbage_is_an_entry_and_the_others_go_on(tmp_path: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
    async with wired(tmp_path, dict.fromkeys(("good", "garbage", "hangs"), TargetType.OPENAI)) as system:
        system.servers["garbage"].misbehave(answers(b"<html>"), answers(b"<html>"))
        system.servers["hangs"].misbehave(hangs(), hangs())
        branches = [
            Branch(name=name, target=name, body=body, max_attempts=2, timeout_seconds=0.2 if name == "hangs" else 20.0)
            for name in ("good", "garbage", "hangs")
        ]
        unknown = Branch(name="unknown", target="nobody", body=body)
        job_id = await _submit(system.engine, FanoutArgs(branches=(*branches, unknown)), FORK)
        [job] = await system.ended(job_id)
        assert job.status is Status.SUCCEEDED
        entries = (await _document(system.engine, job_id))["body"]
        assert entries["good"]["status"] == "succeeded"
        codes = {name: entry["error"]["code"] for name, entry in entries.items() if "error" in entry}
        assert codes == {"garbage": "invalid_output", "hangs": "target_timeout", "unknown": "model_not_found"}


async def test_a_retried_fan_out_runs_what_died_and_counts_what_succeeded_once(open_engine: OpenEngine) -> None:
    good, bad = ScriptedTarget("good"), ScriptedTarget("bad", [REFUSED, answer("now")])
    engine = await open_engine(good, bad)
    job_id = await _submit(engine, FanoutArgs(branches=_branches("good", "bad"), successes=2))
    await _idle(engine)
    failed = await engine.get(job_id)
    assert failed.error is not None
    assert (failed.error.code, failed.cost_usd) == ("no_quorum", 0.5)
    before = await _children(engine, job_id)
    await engine.services.jobs.retry("default", [job_id])
    await _idle(engine)
    job = await engine.get(job_id)
    assert (job.status, job.cost_usd, len(good.calls), len(bad.calls)) == (Status.SUCCEEDED, 1.0, 1, 2)
    assert job.usage is not None
    assert job.usage.input_tokens == 6
    assert await _children(engine, job_id) == before
    entries = (await _document(engine, job_id))["body"]
    assert entries["bad"]["body"]["choices"][0]["message"]["content"] == "now"


async def test_a_fan_out_whose_judge_failed_is_retried_with_the_judge_alone(open_engine: OpenEngine) -> None:
    worker, judge = ScriptedTarget("a"), ScriptedTarget("judge", [REFUSED, answer("so be it")])
    engine = await open_engine(worker, judge)
    body = {"model": "judge-model", "all": "{results}"}
    aggregation = Aggregation(how=How.TARGET, branch=Branch(name="judge", target="judge", body=body))
    job_id = await _submit(engine, FanoutArgs(branches=_branches("a"), aggregation=aggregation))
    await _idle(engine)
    assert (await engine.get(job_id)).status is Status.FAILED
    await engine.services.jobs.retry("default", [job_id])
    await _idle(engine)
    assert (await engine.get(job_id)).cost_usd == 1.0
    document = await _document(engine, job_id)
    assert document["body"]["choices"][0]["message"]["content"] == "so be it"
    assert (len(worker.calls), len(judge.calls)) == (1, 2)


async def test_a_cancelled_fan_out_can_be_retried(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("a"), ScriptedTarget("b"))
    job_id = await _submit(engine, FanoutArgs(branches=_branches("a", "b"), on_failure=OnFailure.FAIL))
    await engine.services.jobs.cancel("default", [job_id])
    await _idle(engine)
    cancelled = await _document(engine, job_id)
    assert {entry["error"]["code"] for entry in cancelled["body"].values()} == {"cancelled"}
    assert (await engine.get(job_id)).status is Status.CANCELLED
    await engine.services.jobs.retry("default", [job_id])
    await _idle(engine)
    assert {entry["status"] for entry in (await _document(engine, job_id))["body"].values()} == {"succeeded"}


async def test_a_fan_out_past_its_own_deadline_expires_with_what_it_has(open_engine: OpenEngine) -> None:
    held = ScriptedTarget("b", is_gated=True)
    engine = await open_engine(ScriptedTarget("a"), held)
    job_id = await _submit(
        engine, FanoutArgs(branches=_branches("a", "b"), successes=2), deadline=engine.clock.now() + 900
    )
    async with await engine.worker():
        await held.entered.wait()
        while (await engine.get((await _children(engine, job_id))["a"])).status is not Status.SUCCEEDED:
            await asyncio.sleep(0.01)
        engine.clock.advance(2000)
        while not (await engine.get(job_id)).is_terminal:
            await engine.services.jobs.recover()
            await asyncio.sleep(0.01)
    job = await engine.get(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, ErrorCode.EXPIRED)
    entries = (await _document(engine, job_id))["body"]
    assert (entries["a"]["status"], entries["b"]["error"]["code"]) == ("succeeded", "expired")


async def test_large_and_binary_answers_stand_in_the_result(open_engine: OpenEngine) -> None:
    long = "x" * (INLINE_LIMIT_BYTES + 1)
    speech = InferenceResult(status_code=200, body=b"\x00\xffOGG", content_type="audio/ogg")
    engine = await open_engine(ScriptedTarget("long", [answer(long)]), ScriptedTarget("speech", [speech]))
    job_id = await _submit(engine, FanoutArgs(branches=_branches("long", "speech")))
    await _idle(engine)
    job = await engine.get(job_id)
    assert job.result is not None
    assert job.result.body.blob_id is not None
    child = await engine.get((await _children(engine, job_id))["long"])
    assert child.result is not None
    assert child.result.body.blob_id is not None
    entries = (await _document(engine, job_id))["body"]
    assert entries["long"]["body"]["choices"][0]["message"]["content"] == long
    file = entries["speech"]["body"]
    assert (file["object"], file["content_type"], file["bytes"]) == ("file", "audio/ogg", 5)
    record = await engine.services.records.get("default", "file", file["file_id"])
    assert record is not None
