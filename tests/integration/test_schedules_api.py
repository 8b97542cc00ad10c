"""Schedules over HTTP and on the command line: when they fire, paused, resumed, fired by hand."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.pipeline import CatchUp
from forebay.engine.scheduler import Scheduler
from tests.integration.api_server import Server, running_server
from tests.integration.schedule_house import allowing, pipeline

START = 1_800_000_000.0  # 2027-01-15 08:00 UTC
PIPELINES = [
    allowing(
        "weekly",
        on=[
            {"cron": "0 2 * * 1", "timezone": "Europe/Berlin"},
            {"rate": "15m", "name": "often"},
            {"at": START + 100, "name": "once"},
            {"files": "inbox/*.csv", "name": "inbox"},
            {"event": {"source": ["crm"]}, "name": "sold"},
        ],
        catch_up=CatchUp.ALL,
    ),
    pipeline("hourly", on={"rate": "1h", "window": "10m"}),
    pipeline("by-hand"),
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path, pipelines=PIPELINES) as running:
        yield running


async def listed(server: Server) -> dict[str, Any]:
    return {one["name"]: one for one in (await server.get("/v1/schedules"))["data"]}


async def test_every_trigger_is_listed_with_what_it_is_and_when_it_fires(server: Server) -> None:
    await Scheduler(server.services).step()
    found = await listed(server)
    assert list(found) == ["hourly", "inbox", "often", "once", "sold", "weekly"]
    assert found["weekly"] == {
        "name": "weekly",
        "object": "schedule",
        "pipeline": "weekly",
        "type": "cron",
        "cron": "0 2 * * 1",
        "timezone": "Europe/Berlin",
        "rate_seconds": None,
        "at": None,
        "files": None,
        "event": None,
        "window_seconds": 0.0,
        "params": {},
        "overlap": "allow",
        "catch_up": "all",
        "paused": False,
        "next_fire_at": 1_800_234_000.0,  # Monday, 2027-01-18 01:00 UTC
        "last_fire_at": None,
        "last_run_id": None,
        "last_skipped_at": None,
        "last_error": None,
    }
    assert found["often"]["next_fire_at"] == START + 900
    assert found["once"]["next_fire_at"] == START + 100
    assert (found["inbox"]["files"], found["inbox"]["next_fire_at"]) == ("inbox/*.csv", None)
    assert (found["sold"]["event"], found["sold"]["next_fire_at"]) == ({"source": ["crm"]}, None)
    assert START + 3600 < found["hourly"]["next_fire_at"] < START + 4200


async def test_a_firing_stands_in_the_view_with_its_run(server: Server) -> None:
    scheduler = Scheduler(server.services)
    await scheduler.step()
    server.clock.advance(950)
    await scheduler.step()
    often = (await listed(server))["often"]
    assert (often["last_fire_at"], often["next_fire_at"]) == (START + 900, START + 1800)
    run = await server.get(f"/v1/runs/{often['last_run_id']}")
    assert run["trigger"] == {"type": "rate", "name": "often", "fire_time": START + 900, "detail": None}
    assert (await listed(server))["once"]["next_fire_at"] is None


async def test_the_last_run_that_an_event_began_stands_in_the_view(server: Server) -> None:
    event = {"id": "1", "source": "crm", "detail-type": "won", "detail": {}}
    await server.post("/v1/events", 202, json=event)
    server.clock.advance(5)
    [receipt] = (await server.post("/v1/events", 202, json={**event, "id": "2"}))["data"]
    sold = (await listed(server))["sold"]
    assert sold["last_run_id"] == "run_" + receipt["matched"][0]["job_id"].removeprefix("job_")
    assert sold["last_fire_at"] == START + 5


async def test_a_hundred_events_at_once_begin_as_many_runs(server: Server) -> None:
    events = [{"id": str(n), "source": "crm", "detail-type": "won", "detail": {}} for n in range(100)]
    receipts = (await server.post("/v1/events", 202, json=events))["data"]
    assert len({receipt["matched"][0]["job_id"] for receipt in receipts}) == 100


async def test_a_paused_schedule_fires_nothing_until_it_is_resumed_and_then_goes_on_from_now(server: Server) -> None:
    scheduler = Scheduler(server.services)
    await scheduler.step()
    paused = await server.post("/v1/schedules/often/pause")
    assert (paused["paused"], paused["next_fire_at"]) == (True, None)
    assert (await server.post("/v1/schedules/often/pause"))["paused"] is True
    server.clock.advance(5000)
    await scheduler.step()
    resumed = await server.post("/v1/schedules/often/resume")
    assert (resumed["paused"], resumed["next_fire_at"]) == (False, START + 5400)
    await scheduler.step()
    assert (await listed(server))["often"]["last_run_id"] is None
    server.clock.advance(400)
    await scheduler.step()
    assert (await listed(server))["often"]["last_fire_at"] == START + 5400


async def test_a_schedule_is_fired_by_hand_though_it_is_paused(server: Server) -> None:
    await server.post("/v1/schedules/hourly/pause")
    async with server.http.post("/v1/schedules/hourly/run") as reply:
        run = await reply.json()
        assert (reply.status, reply.headers["location"]) == (202, f"/v1/runs/{run['id']}")
    assert run["pipeline"] == "hourly"
    assert run["trigger"] == {"type": "manual", "name": "hourly", "fire_time": START, "detail": None}
    other = await server.post("/v1/schedules/hourly/run", 202)
    assert other["id"] != run["id"]


async def test_a_firing_by_hand_under_a_key_is_one_run(server: Server) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await server.post("/v1/schedules/hourly/run", 202, headers=key)
    async with server.http.post("/v1/schedules/hourly/run", headers=key) as reply:
        assert reply.headers["idempotent-replayed"] == "true"
        assert (await reply.json())["id"] == first["id"]


@pytest.mark.parametrize("name", ["inbox", "sold"])
async def test_what_fires_by_a_file_or_an_event_has_no_firing_by_hand(server: Server, name: str) -> None:
    refused = await server.post(f"/v1/schedules/{name}/run", 400)
    assert refused["error"]["code"] == "not_supported"
    assert "/v1/pipelines/weekly/runs" in refused["error"]["message"]


async def test_a_schedule_that_is_not_there_is_not_found_and_the_nearest_is_named(server: Server) -> None:
    for verb in ("pause", "resume", "run"):
        refused = await server.post(f"/v1/schedules/weakly/{verb}", 404)
        assert "'weekly'" in refused["error"]["message"]


async def test_another_tenant_sees_no_schedule_and_each_call_needs_its_scope(server: Server) -> None:
    keys = [
        {"name": "other", "tenant": "acme", "scopes": ["submit", "read", "admin"]},
        {"name": "reader", "scopes": ["read"]},
        {"name": "admin", "scopes": ["admin"]},
    ]
    admin = {"x-api-key": (await server.post("/v1/keys", json=keys[2]))["key"]}
    other, reader = [{"x-api-key": (await server.post("/v1/keys", json=one, headers=admin))["key"]} for one in keys[:2]]
    assert (await server.get("/v1/schedules", headers=other))["data"] == []
    await server.post("/v1/schedules/weekly/pause", 404, headers=other)
    await server.post("/v1/schedules/weekly/run", 404, headers=other)
    await server.post("/v1/schedules/weekly/pause", 403, headers=reader)
    await server.post("/v1/schedules/weekly/run", 403, headers=reader)
    await server.post("/v1/schedules/weekly/pause", headers=admin)


async def test_the_command_line_lists_pauses_resumes_and_fires(server: Server) -> None:
    code, shown, _ = await forebay(server, "pause", "often")
    assert (code, shown) == (0, "often is paused\n")
    code, shown, _ = await forebay(server, "list")
    assert code == 0
    assert [part in shown for part in ("0 2 * * 1 Europe/Berlin", "every 900 s", "paused")] == [True] * 3
    code, shown, _ = await forebay(server, "resume", "often")
    assert (code, shown.startswith("often fires next ")) == (0, True)
    code, shown, _ = await forebay(server, "run", "often", "--json")
    assert (await server.get(f"/v1/runs/{json.loads(shown)['id']}"))["trigger"]["name"] == "often"
    code, _, said = await forebay(server, "pause", "nobody")
    assert (code, "nobody" in said) == (1, True)


async def forebay(server: Server, *words: str) -> tuple[int, str, str]:
    """Runs `forebay schedules …` against the server: exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "forebay", "schedules", *words, "--server", server.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    shown, said = await process.communicate()
    return process.returncode or 0, shown.decode(), said.decode()
