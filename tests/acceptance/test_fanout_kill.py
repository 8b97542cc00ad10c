"""A server killed in the middle of a fan-out of fifty: nothing is lost, no branch twice, and the result is whole."""

import json
from pathlib import Path
from typing import Any

import aiohttp

from forebay.domain.job import Status
from forebay.testing.history import violations

from .faults_support import configure, counted, get, history_of, hold, http, let_go, opened, until, until_in_flight
from .processes import started

WIDTH = 50
AT_ONCE = 8
FUNCTIONS = """
import forebay

async def plan(request):
    if request.children:
        return {"children": request.children, "of": request.job_id}
    ask = {"model": "mock", "messages": [{"role": "user", "content": "Hello to all."}]}
    return forebay.Spawn([{"target": "mock", "body": ask}] * 20)
"""
PARTS = 20
DONE = (11, 34)  # calls that are answered before the first kill, and before the second


async def test_a_server_killed_in_the_middle_of_a_fan_out_loses_nothing(tmp_path: Path) -> None:
    body = {"model": "mock", "messages": [{"role": "user", "content": "Hello to all."}]}
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=AT_ONCE)
        job_id = ""
        for done in DONE:
            await hold(session, mock.address, after=done)
            async with started("serve", "--port", "0", folder=tmp_path) as server:
                if not job_id:
                    fanout = {"targets": ["mock"] * WIDTH, "body": body}
                    job_id = await _submitted(session, server.address, fanout)
                await until_in_flight(session, mock.address, AT_ONCE)
                await server.kill()
        await let_go(session, mock.address)
        view = await _ended(session, tmp_path, job_id)
        assert view["status"] == "succeeded", json.dumps(view["error"])
        entries = view["result"]["body"]
        assert list(entries) == ["mock", *[f"mock-{number}" for number in range(2, WIDTH + 1)]]
        assert {entry["status"] for entry in entries.values()} == {"succeeded"}
        assert len({entry["job_id"] for entry in entries.values()}) == WIDTH
        assert all(entry["body"]["choices"][0]["message"]["content"] for entry in entries.values())
        history = await history_of(tmp_path)
        assert violations(history, accepted=[job_id]) == []
        assert history.statuses() == {Status.SUCCEEDED: 1}
        assert len(history.jobs) == WIDTH + 1
        answered = sum(job.status is Status.SUCCEEDED for job in history.jobs.values() if job.parent_id == job_id)
        assert answered == WIDTH
        calls = await counted(session, mock.address)
        assert calls["max_in_flight"] <= AT_ONCE


async def test_a_server_killed_while_a_split_task_works_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=AT_ONCE)
        with (tmp_path / "forebay.yaml").open("a") as file:
            file.write('  plan: {type: python, function: "functions:plan"}\n')
        await hold(session, mock.address, after=PARTS // 2)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            job_id = await _submitted(session, server.address, {"target": "plan", "body": {}})
            await until_in_flight(session, mock.address, AT_ONCE)
            await server.kill()
        await let_go(session, mock.address)
        view = await _ended(session, tmp_path, job_id)
        assert view["status"] == "succeeded", json.dumps(view["error"])
        assert view["result"]["body"]["of"] == job_id
        children = view["result"]["body"]["children"]
        assert [entry["status"] for entry in children.values()] == ["succeeded"] * PARTS, json.dumps(children)
        assert [view["attempts"][place]["outcome"] for place in (0, -1)] == ["succeeded", "succeeded"]
        history = await history_of(tmp_path)
        assert violations(history, accepted=[job_id]) == []
        assert len(history.jobs) == PARTS + 1
        assert {job.status for job in history.jobs.values()} == {Status.SUCCEEDED}


async def _submitted(session: aiohttp.ClientSession, server: str, job: dict[str, Any]) -> str:
    async with session.post(f"{server}/v1/jobs", json=job) as reply:
        assert reply.status == 202, await reply.text()
        return str((await reply.json())["id"])


async def _ended(session: aiohttp.ClientSession, folder: Path, job_id: str) -> dict[str, Any]:
    """The view of the job, which a server that was started anew has ended."""
    async with started("serve", "--port", "0", folder=folder) as server, opened(folder) as store:

        async def has_ended() -> bool:
            [job] = await store.jobs.get(None, [job_id])
            return job is not None and job.is_terminal

        await until(has_ended)
        view: dict[str, Any] = await get(session, f"{server.address}/v1/jobs/{job_id}")
    return view
