"""Agents on the official A2A SDK's server, in another process: what becomes of jobs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from forebay.api.server import serve
from forebay.app import System, open_system
from forebay.domain.job import Job, Status
from forebay.domain.order import Order
from forebay.domain.query import Parts
from forebay.domain.target import TargetSpec, TargetType
from forebay.engine.intake import make_job
from forebay.settings.records import Settings, StoreSettings
from forebay.testing.ports import free_port

from .a2a_agent import PICTURE
from .agent_process import Agent, running_agent

AGENT = "tests.integration.a2a_agent"
WHOLE = Parts(result=True, attempts=True)


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent(AGENT, free_port()) as running:
        yield running


@asynccontextmanager
async def opened(folder: Path, agent: Agent, **changes: Any) -> AsyncIterator[System]:
    """An installation whose target ``agent`` is the agent."""
    place = StoreSettings(url=f"sqlite:///{folder}/forebay.db", path=folder / "forebay.db")
    spec = TargetSpec(name="agent", type=TargetType.A2A, url=agent.url)
    async with open_system(Settings(store=place, blobs=folder / "blobs", targets=(spec,), **changes)) as system:
        yield system


async def submit(system: System, words: str, **fields: Any) -> str:
    job = await make_job(Order(body=json.dumps({"text": words}), target="agent", **fields), system.services)
    [added] = await system.services.jobs.add([job])
    return added.id


async def read(system: System, job_id: str) -> Job:
    [job] = await system.services.jobs.get(None, [job_id], WHOLE)
    assert job is not None
    return job


async def ended(system: System, job_id: str) -> Job:
    watch = system.services.jobs.watch([f"job:{job_id}"])
    try:
        while not (job := await read(system, job_id)).is_terminal:
            await watch.next(1.0)
        return job
    finally:
        watch.close()


async def accepted(system: System, job_id: str) -> Job:
    """Waits until the agent has the task, and the job waits for it without a slot."""
    watch = system.services.jobs.watch(["ready:target:agent", f"job:{job_id}"])
    try:
        while not ((job := await read(system, job_id)).progress and job.status is Status.QUEUED):
            assert not job.is_terminal
            await watch.next(0.05)
        return job
    finally:
        watch.close()


def body_of(job: Job) -> Any:
    assert job.result is not None
    return json.loads(job.result.body.text or "null")


async def test_an_agent_that_answers_at_once_and_one_whose_task_ends_at_once(tmp_path: Path, agent: Agent) -> None:
    async with opened(tmp_path, agent) as system, system.worker():
        said, done = await submit(system, "say hello"), await submit(system, "now")
        message, task = await ended(system, said), await ended(system, done)
    assert message.status is Status.SUCCEEDED
    assert body_of(message)["parts"] == [{"text": "you said: say hello"}]
    assert task.status is Status.SUCCEEDED
    assert body_of(task)["status"]["state"] == "TASK_STATE_COMPLETED"
    text, picture = body_of(task)["artifacts"][0]["parts"]
    assert text == {"text": "it is done"}
    assert (picture["filename"], picture["file"]["bytes"], "raw" in picture) == ("chart.png", len(PICTURE), False)
    assert (task.attempt_count, len(task.attempts)) == (1, 1)


async def test_a_task_that_works_long_holds_no_slot_and_is_sent_once_over_two_workers(
    tmp_path: Path, agent: Agent
) -> None:
    async with opened(tmp_path, agent) as system:
        async with system.worker():
            job_id = await submit(system, "work restart")
            job = await accepted(system, job_id)
        assert job.attempts[0].finished_at is None
        assert (await read(system, job_id)).status is Status.QUEUED
    await agent.finish("work restart")
    async with opened(tmp_path, agent) as system, system.worker():
        job = await ended(system, job_id)
    assert job.status is Status.SUCCEEDED
    [message] = (await agent.seen("work restart"))["messages"]
    assert message["messageId"].startswith(job_id)


async def test_a_task_that_fails_is_tried_again_as_another_message(tmp_path: Path, agent: Agent) -> None:
    async with opened(tmp_path, agent) as system, system.worker():
        job_id = await submit(system, "fail", max_attempts=2)
        job = await ended(system, job_id)
    assert (job.status, job.attempts_used) == (Status.FAILED, 2)
    assert job.error is not None
    assert (job.error.code, "the agent failed: my model is away" in job.error.message) == ("target_unavailable", True)
    assert body_of(job)["status"]["state"] == "TASK_STATE_FAILED"
    first, second = [one["messageId"] for one in (await agent.seen("fail"))["messages"]]
    assert first.startswith(job_id)
    assert second.startswith(job_id)
    assert first != second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ask", "asks for more before it goes on: Which city?"),
        ("authorise", "asks for an authorisation before it goes on: Log in at the portal"),
        ("refuse", "refuses the task: that is not my trade"),
    ],
)
async def test_what_a_job_cannot_answer_is_a_dead_letter_with_the_agents_words(
    tmp_path: Path, agent: Agent, words: str, said: str
) -> None:
    async with opened(tmp_path, agent) as system, system.worker():
        job = await ended(system, await submit(system, words))
    assert (job.status, job.attempts_used) == (Status.FAILED, 0)
    assert job.error is not None
    assert (job.error.code, said in job.error.message) == ("target_rejected", True)
    assert body_of(job)["id"]


async def test_a_question_is_answered_by_a_job_whose_message_names_the_task(tmp_path: Path, agent: Agent) -> None:
    async with opened(tmp_path, agent) as system, system.worker():
        asked = body_of(await ended(system, await submit(system, "ask")))
        message = {"parts": [{"text": "now: Rome"}], "taskId": asked["id"], "contextId": asked["contextId"]}
        job = await make_job(Order(body=json.dumps({"message": message}), target="agent"), system.services)
        [added] = await system.services.jobs.add([job])
        answered = await ended(system, added.id)
    assert answered.status is Status.SUCCEEDED
    assert body_of(answered)["id"] == asked["id"]


async def test_the_task_of_an_agent_that_was_killed_is_done_again_when_it_is_back(tmp_path: Path) -> None:
    with running_agent(AGENT, free_port()) as mortal:
        async with opened(tmp_path, mortal) as system, system.worker():
            job_id = await submit(system, "work mortal")
            await accepted(system, job_id)
            mortal.kill()
            mortal.start()
            await mortal.finish("work mortal")
            job = await ended(system, job_id)
        assert job.status is Status.SUCCEEDED
        assert job.attempts_used == 1, "the lost task"
        [message] = (await mortal.seen("work mortal"))["messages"]
        assert message["messageId"].startswith(job_id)
        assert message["messageId"].endswith(".1"), "not the key of the lost task"


async def test_the_task_of_a_job_that_is_cancelled_is_cancelled_at_the_agent(tmp_path: Path, agent: Agent) -> None:
    async with opened(tmp_path, agent) as system, system.worker():
        job_id = await submit(system, "work unwanted")
        await accepted(system, job_id)
        await system.services.jobs.cancel("default", [job_id])
        assert (await ended(system, job_id)).status is Status.CANCELLED
        while not (await agent.seen("work unwanted"))["cancelled"]:
            await asyncio.sleep(0.05)


async def test_an_agent_that_pushes_makes_the_next_question_come_now(
    tmp_path: Path, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.targets.a2a.FIRST_POLL_SECONDS", 3_000.0)
    monkeypatch.setattr("forebay.targets.a2a.SLOWEST_PUSHED_SECONDS", 3_000.0)
    port = free_port()
    async with opened(tmp_path, agent, public_url=f"http://127.0.0.1:{port}") as system:
        serving = asyncio.create_task(serve(system, port=port))
        try:
            async with system.worker():
                job_id = await submit(system, "work pushed")
                job = await accepted(system, job_id)
                assert job.due_at - time.time() > 2_000
                await agent.finish("work pushed")
                job = await ended(system, job_id)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
    assert job.status is Status.SUCCEEDED
    assert body_of(job)["artifacts"][0]["parts"][0] == {"text": "it is done"}
