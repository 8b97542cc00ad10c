"""One message to several targets at once: a failure of one harms no other, and what they answer comes back as one."""

import asyncio
from typing import Any

import msgspec
import pytest

from forebay.domain.errors import RequestError, TargetRejected
from forebay.domain.fanout import Aggregation, Branch, FanoutArgs, How, OnFailure
from forebay.domain.job import Status
from forebay.domain.order import Order
from forebay.domain.query import JobQuery
from forebay.engine.fanouts import make_fanout
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import BODY, Engine, OpenEngine
from .faulty import is_right

REFUSED = TargetRejected("no", status_code=400)


def _branches(*names: str, **fields: Any) -> tuple[Branch, ...]:
    return tuple(Branch(name=name, target=name, **fields) for name in names)


async def _submit(engine: Engine, args: FanoutArgs, body: str = BODY, **fields: Any) -> str:
    job = await make_fanout(Order(body=body, fanout=args, **fields), engine.services)
    [added] = await engine.services.jobs.add([job])
    return added.id


async def _document(engine: Engine, job_id: str) -> dict[str, Any]:
    job = await engine.get(job_id)
    assert job.result is not None
    document: dict[str, Any] = msgspec.json.decode(job.result.body.text or "")
    return document


async def _run(engine: Engine, args: FanoutArgs, **fields: Any) -> str:
    job_id = await _submit(engine, args, **fields)
    await asyncio.wait_for((await engine.worker()).run_until_idle(), 120)
    return job_id


async def _children(engine: Engine, job_id: str) -> list[str]:
    found = await engine.services.jobs.find(JobQuery(tenant="default", parent_id=job_id, is_ascending=True))
    return [child.id for child in found]


async def test_every_branch_stands_in_the_result_and_a_failure_of_one_is_an_entry(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("a"), ScriptedTarget("b", [REFUSED]), ScriptedTarget("c", [answer("no")]))
    job_id = await _run(engine, FanoutArgs(branches=_branches("a", "b", "c")))
    entries = (await _document(engine, job_id))["body"]
    assert list(entries) == ["a", "b", "c"]
    assert entries["a"]["body"]["choices"][0]["message"]["content"] == "yes"
    assert entries["b"]["status"] == "failed"
    assert entries["b"]["error"]["code"] == "target_rejected"
    assert entries["c"]["cost_usd"] == 0.5
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    assert job.cost_usd == 1.0
    assert job.usage is not None
    assert job.usage.input_tokens == 6
    await is_right(engine, job_id, *await _children(engine, job_id))


async def test_zero_successes_are_a_failure_that_shows_every_branch(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("a", [REFUSED]), ScriptedTarget("b", [REFUSED]))
    job_id = await _run(engine, FanoutArgs(branches=_branches("a", "b")))
    job = await engine.get(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, "no_success")
    assert {entry["status"] for entry in (await _document(engine, job_id))["body"].values()} == {"failed"}


async def test_the_first_success_wins_and_the_losers_are_cancelled(open_engine: OpenEngine) -> None:
    slow = ScriptedTarget("slow", is_gated=True)
    engine = await open_engine(slow, ScriptedTarget("quick"), ScriptedTarget("bad", [REFUSED]))
    args = FanoutArgs(branches=_branches("slow", "quick", "bad"), successes=1, aggregation=Aggregation(how=How.FIRST))
    job_id = await _submit(engine, args)
    async with await engine.worker():
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0)
        document = await _document(engine, job_id)
        assert document["body"]["choices"][0]["message"]["content"] == "yes"
        assert document["branches"]["quick"]["status"] == "succeeded"
        assert document["branches"]["slow"]["error"]["code"] == "not_needed"
        loser = (await _children(engine, job_id))[0]
        while not (await engine.get(loser)).is_terminal:
            await asyncio.sleep(0)
    ended = {(await engine.get(child)).status for child in await _children(engine, job_id)}
    assert Status.CANCELLED in ended


async def test_a_quorum_that_cannot_be_reached_fails_at_once(open_engine: OpenEngine) -> None:
    held = [ScriptedTarget(name, is_gated=True) for name in ("c", "d")]
    engine = await open_engine(ScriptedTarget("a", [REFUSED]), ScriptedTarget("b", [REFUSED]), *held)
    job_id = await _submit(engine, FanoutArgs(branches=_branches("a", "b", "c", "d"), successes=3))
    async with await engine.worker():
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0)
    job = await engine.get(job_id)
    assert job.error is not None
    assert job.error.code == "no_quorum"
    assert (await _document(engine, job_id))["body"]["c"]["error"]["code"] == "not_needed"


async def test_where_one_failure_is_the_wholes_the_rest_is_not_waited_for(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("a", [REFUSED]), ScriptedTarget("b", is_gated=True))
    job_id = await _submit(engine, FanoutArgs(branches=_branches("a", "b"), on_failure=OnFailure.FAIL))
    async with await engine.worker():
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0)
    job = await engine.get(job_id)
    assert job.error is not None
    assert job.error.code == "branch_failed"


async def test_who_is_late_is_left_out_and_told(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("a"), ScriptedTarget("b", is_gated=True))
    args = FanoutArgs(branches=_branches("a", "b"))
    job_id = await _submit(engine, args, deadline=engine.clock.now() + 900)
    async with await engine.worker():
        while not all([(await engine.get(child)).attempt_count for child in await _children(engine, job_id)] or [0]):
            await asyncio.sleep(0)
        engine.clock.advance(901)
        await engine.services.jobs.recover()
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0)
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    late = (await _document(engine, job_id))["body"]["b"]
    assert (late["status"], late["error"]["code"]) == ("cancelled", "join_deadline")


async def test_a_vote_counts_what_stands_at_a_path_and_names_a_tie(open_engine: OpenEngine) -> None:
    label = r"{\"label\": \"%s\"}"
    texts = {"a": "good", "b": "bad", "c": "good"}
    engine = await open_engine(*[ScriptedTarget(name, [answer(label % text)]) for name, text in texts.items()])
    path = Aggregation(how=How.VOTE, path="choices[0].message.content.label")
    job_id = await _run(engine, FanoutArgs(branches=_branches("a", "b", "c"), aggregation=path))
    document = await _document(engine, job_id)
    assert document["body"] == {"winner": "good", "votes": {"good": 2, "bad": 1}, "tie": False}
    assert set(document["branches"]) == {"a", "b", "c"}
    tied = await _run(engine, FanoutArgs(branches=_branches("b", "a"), aggregation=path))
    assert (await _document(engine, tied))["body"]["winner"] == "bad"
    assert (await _document(engine, tied))["body"]["tie"]


async def test_answers_are_merged_in_the_order_of_send(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("a"), ScriptedTarget("b", [answer("later")]))
    merge = FanoutArgs(branches=_branches("a", "b"), aggregation=Aggregation(how=How.MERGE))
    document = await _document(engine, await _run(engine, merge))
    assert document["body"]["choices"][0]["message"]["content"] == "later"


async def test_a_target_sums_up_what_the_others_said(open_engine: OpenEngine) -> None:
    judge = ScriptedTarget("judge", [answer("so be it")])
    engine = await open_engine(ScriptedTarget("a"), ScriptedTarget("b", [REFUSED]), judge)
    body = {"model": "j-model", "q": "{event.topic}: {results.a.body.choices[0].message.content}", "all": "{results}"}
    aggregation = Aggregation(how=How.TARGET, branch=Branch(name="judge", target="judge", body=body))
    args = FanoutArgs(branches=_branches("a", "b"), aggregation=aggregation)
    job_id = await _run(engine, args, body='{"topic":"rain","model":"t-model"}')
    sent = msgspec.json.decode(judge.calls[0].body)
    assert sent["q"] == "rain: yes"
    assert sent["all"]["b"]["error"]["code"] == "target_rejected"
    document = await _document(engine, job_id)
    assert document["body"]["choices"][0]["message"]["content"] == "so be it"
    assert document["branches"]["a"]["status"] == "succeeded"
    assert (await engine.get(job_id)).cost_usd == 1.0


async def test_a_branch_whose_template_misses_a_field_is_an_entry_and_the_others_go_on(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("a"), ScriptedTarget("b"))
    branches = (
        Branch(name="good", target="a", body={"model": "m", "text": "{detail.name}"}),
        Branch(name="lacking", target="b", body={"model": "m", "text": "{detail.price}"}),
        Branch(name="unknown", target="nobody", body={"model": "m"}),
    )
    job_id = await _run(engine, FanoutArgs(branches=branches), body='{"detail":{"name":"\\"}, {\\"x\\": 1"}}')
    entries = (await _document(engine, job_id))["body"]
    assert entries["good"]["status"] == "succeeded"
    assert entries["lacking"]["error"]["code"] == "template_field_missing"
    assert "detail.price" in entries["lacking"]["error"]["message"]
    assert entries["unknown"]["error"]["code"] == "model_not_found"


async def test_a_cancelled_fan_out_ends_with_what_it_has(open_engine: OpenEngine) -> None:
    held = ScriptedTarget("b", is_gated=True)
    engine = await open_engine(ScriptedTarget("a"), held)
    job_id = await _submit(engine, FanoutArgs(branches=_branches("a", "b")))
    async with await engine.worker():
        await held.entered.wait()
        while (await engine.get((await _children(engine, job_id))[0])).status is not Status.SUCCEEDED:
            await asyncio.sleep(0)
        await engine.services.jobs.cancel("default", [job_id])
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0)
    assert (await engine.get(job_id)).status is Status.CANCELLED
    entries = (await _document(engine, job_id))["body"]
    assert entries["a"]["status"] == "succeeded"
    assert entries["b"]["status"] == "cancelled"


async def test_a_shared_body_goes_to_each_target_with_a_model_of_its_own(open_engine: OpenEngine) -> None:
    first, other = ScriptedTarget("t"), ScriptedTarget("o")
    engine = await open_engine(first, other)
    await _run(engine, FanoutArgs(branches=_branches("t", "o")))
    assert [first.calls[0].model, other.calls[0].model] == ["t-model", "o-model"]


@pytest.mark.parametrize(
    "args",
    [
        FanoutArgs(branches=()),
        FanoutArgs(branches=_branches("a", "a")),
        FanoutArgs(branches=_branches("a", "b"), successes=3),
    ],
)
async def test_a_fan_out_that_cannot_be_is_refused(args: FanoutArgs, open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("a"), ScriptedTarget("b"))
    with pytest.raises(RequestError):
        await make_fanout(Order(body=BODY, fanout=args), engine.services)
