"""``GET /v1/jobs/{id}/events`` over a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from forebay.api.jobs import events as job_events
from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.change import Change, Claimed, Verdict, Want, Worker
from forebay.domain.job import Job, Join, Status
from tests.integration.api_server import CHAT, Server, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


class Events:
    """What one stream tells, event by event."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines
        self.comments = 0

    async def next(self) -> dict[str, Any] | None:
        """The next event: its id, its name and its data; None at the end."""
        event: dict[str, Any] = {}
        async for line in self._lines:
            text = line.decode().removesuffix("\n")
            if text.startswith(":"):
                self.comments += 1
            elif text:
                name, _, value = text.partition(": ")
                event[name] = json.loads(value) if name == "data" else value
            elif event:
                return event
        return None

    async def rest(self) -> list[dict[str, Any]]:
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


async def told(server: Server, job_id: str, last_id: str = "") -> list[dict[str, Any]]:
    """All events until the stream ends."""
    headers = {"last-event-id": last_id} if last_id else {}
    async with server.http.get(f"/v1/jobs/{job_id}/events", headers=headers) as reply:
        assert reply.status == 200, await reply.text()
        assert reply.headers["content-type"].startswith("text/event-stream")
        return await Events(aiter(reply.content)).rest()


async def fail_and_retry(server: Server, claimed: Claimed) -> None:
    """Ends the attempt under way by a time-out; the job is to be tried again."""
    now = server.clock.now()
    attempt = Attempt(
        job_id=claimed.job.id,
        number=claimed.job.attempt_count + 1,
        fence=claimed.fence,
        target=claimed.lane,
        started_at=now,
        outcome=Outcome.TIMEOUT,
        finished_at=now,
        error="too slow",
        retry_at=now,
    )
    change = Change(job_id=claimed.job.id, fence=claimed.fence, status=Status.QUEUED, due_at=now, attempts=(attempt,))
    assert await server.services.jobs.apply([change]) == [Verdict.APPLIED]


async def test_a_job_that_has_ended_tells_its_whole_story(server: Server) -> None:
    job_id = (await server.submit())["id"]
    await fail_and_retry(server, await server.hand.take())
    await server.hand.succeed(await server.hand.take())
    events = await told(server, job_id)
    assert [event["event"] for event in events] == [
        "job.queued",
        *("attempt.started", "attempt.finished", "job.retrying"),
        *("attempt.started", "attempt.finished", "job.succeeded"),
    ]
    assert [event["data"]["type"] for event in events] == [event["event"] for event in events]
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(set(ids))
    assert [event["data"]["attempt"] for event in events] == [None, 1, 1, 1, 2, 2, None]
    retrying = events[3]["data"]
    assert (retrying["outcome"], retrying["error"], retrying["retry_at"]) == ("timeout", "too slow", server.clock.now())
    assert events[-1]["data"]["job"] == await server.get(f"/v1/jobs/{job_id}")
    assert all("job" not in event["data"] for event in events[:-1])


async def test_events_come_while_they_happen(server: Server) -> None:
    job_id = (await server.submit())["id"]
    async with server.http.get(f"/v1/jobs/{job_id}/events") as reply:
        events = Events(aiter(reply.content))
        names = [(await events.next() or {})["event"]]
        claimed = await server.hand.take()
        names.append((await events.next() or {})["event"])
        await server.hand.succeed(claimed)
        names += [event["event"] for event in await events.rest()]
    assert names == ["job.queued", "attempt.started", "attempt.finished", "job.succeeded"]


async def test_a_client_goes_on_after_its_last_event_and_is_sent_away_after_the_end(server: Server) -> None:
    job_id = (await server.submit())["id"]
    await server.hand.succeed(await server.hand.take())
    events = await told(server, job_id)
    for place, event in enumerate(events[:-1]):
        assert await told(server, job_id, event["id"]) == events[place + 1 :]
    headers = {"last-event-id": events[-1]["id"]}
    async with server.http.get(f"/v1/jobs/{job_id}/events", headers=headers) as reply:
        assert (reply.status, await reply.read()) == (204, b"")


async def test_a_retried_job_goes_on_with_its_ids(server: Server) -> None:
    job_id = (await server.submit())["id"]
    await server.hand.fail(await server.hand.take())
    before = await told(server, job_id)
    server.clock.advance(1)
    await server.post(f"/v1/jobs/{job_id}/retry")
    await server.hand.succeed(await server.hand.take())
    after = await told(server, job_id, before[-1]["id"])
    assert [event["event"] for event in after] == ["attempt.started", "attempt.finished", "job.succeeded"]
    assert int(after[0]["id"]) > int(before[-1]["id"])


async def test_a_client_that_waits_for_a_retried_job_is_told_its_second_end(server: Server) -> None:
    job_id = (await server.submit())["id"]
    await server.post(f"/v1/jobs/{job_id}/cancel")
    [*_, end] = await told(server, job_id)
    server.clock.advance(1)
    await server.post(f"/v1/jobs/{job_id}/retry")
    async with server.http.get(f"/v1/jobs/{job_id}/events", headers={"last-event-id": end["id"]}) as reply:
        await server.post(f"/v1/jobs/{job_id}/cancel")
        assert [event["event"] for event in await Events(aiter(reply.content)).rest()] == ["job.cancelled"]


async def test_an_unknown_job_has_no_events_and_a_strange_id_is_refused(server: Server) -> None:
    await server.get("/v1/jobs/job_none/events", 404)
    job_id = (await server.submit())["id"]
    refused = await server.get(f"/v1/jobs/{job_id}/events", 400, headers={"last-event-id": "x"})
    assert refused["error"]["param"] == "last-event-id"


async def test_a_line_break_in_a_models_answer_breaks_no_event(server: Server) -> None:
    job_id = (await server.submit(body=CHAT))["id"]
    await server.hand.succeed(await server.hand.take(), body='{\r\n  "a": 1\n}')
    [*_, end] = await told(server, job_id)
    assert end["data"]["job"]["result"]["body"] == {"a": 1}


async def test_a_silent_stream_is_kept_alive_by_comments(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "KEEP_ALIVE_SECONDS", 0.0)
    monkeypatch.setattr(job_events, "LOOK_SECONDS", 0.01)
    job_id = (await server.submit())["id"]
    async with server.http.get(f"/v1/jobs/{job_id}/events") as reply:
        events = Events(aiter(reply.content))
        await events.next()
        ending = asyncio.create_task(events.rest())
        while events.comments < 3:
            await asyncio.sleep(0.01)
        await server.post(f"/v1/jobs/{job_id}/cancel")
        assert [event["event"] for event in await ending] == ["job.cancelled"]


async def test_a_group_tells_how_far_it_has_come(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "LOOK_SECONDS", 0.01)
    jobs, now = server.services.jobs, server.clock.now()
    group = Job(id="job_group", kind="group", queue="control", created_at=now, deadline=now + 900, is_group=True)
    children = [replace(group, id=f"job_{n}", key=str(n), parent_id=group.id, is_group=False) for n in range(2)]
    await jobs.add([group])
    worker = Worker(id="worker_g", queues=("control",))
    await jobs.renew(worker)

    async def take() -> Claimed:
        [claimed] = await jobs.claim(worker, [Want(queue="control", lane="control", slots=1)])
        return claimed

    async def answer(claimed: Claimed, status: Status, **fields: Any) -> None:
        parent = claimed.job.parent_id
        change = Change(job_id=claimed.job.id, fence=claimed.fence, status=status, parent_id=parent, **fields)
        assert await jobs.apply([change]) == [Verdict.APPLIED]
        await jobs.settle([parent or claimed.job.id])

    async with server.http.get(f"/v1/jobs/{group.id}/events") as reply:
        events = Events(aiter(reply.content))
        heard = [await events.next() or {}]
        await answer(await take(), Status.WAITING, children=tuple(children), join=Join())
        heard += [await events.next() or {}, await events.next() or {}]
        await answer(await take(), Status.SUCCEEDED)
        heard.append(await events.next() or {})
        await answer(await take(), Status.FAILED)
        heard.append(await events.next() or {})
        await answer(await take(), Status.SUCCEEDED)
        heard += await events.rest()
    assert [event["event"] for event in heard] == [
        *("job.queued", "job.waiting", "job.progress"),
        *("job.progress", "job.progress", "job.succeeded"),
    ]
    progress = [event["data"]["progress"] for event in heard[2:]]
    assert progress == [
        {"total": 2, "succeeded": 0, "failed": 0},
        {"total": 2, "succeeded": 1, "failed": 0},
        {"total": 2, "succeeded": 1, "failed": 1},
        {"total": 2, "succeeded": 1, "failed": 1},
    ]
    ids = [int(event["id"]) for event in heard]
    assert ids == sorted(set(ids))
    assert [event["event"] for event in await told(server, group.id, heard[3]["id"])] == [
        "job.progress",
        "job.succeeded",
    ]
