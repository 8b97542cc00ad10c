"""Rules whose entries take every field of a request, over HTTP: written, tried, and acted on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.testing.notifiers import ScriptedNotifier
from tests.integration.api_server import Server, running_server

EVENT = {"id": "1", "source": "shop", "detail-type": "product.created", "detail": {"name": "lamp"}}
ASK = {"model": "gpt-model", "messages": [{"role": "user", "content": "Write for {detail.name}"}]}
PANEL: dict[str, Any] = {"targets": ["gpt", "other"], "join": {"successes": 2}, "body": ASK}
HOOK = {"webhook": "https://example.com/hook", "include": "job"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


def rule(*, notify: Any = None, **entry: Any) -> dict[str, Any]:
    return {"name": "r", "pattern": {"source": ["shop"]}, "send": {"panel": {**PANEL, **entry}}, "notify": notify}


async def idle(server: Server) -> None:
    await asyncio.wait_for(WorkerProcess(server.services, WorkerOptions()).run_until_idle(), 120)


async def test_a_rule_with_a_nested_fan_out_is_kept_tried_and_acted_on(server: Server) -> None:
    made = await server.post("/v1/rules", 201, json=rule(notify=HOOK))
    assert (made["send"]["panel"]["targets"], made["notify"]) == (["gpt", "other"], HOOK)
    tried = await server.post("/v1/rules/test", json={"event": EVENT})
    sent = tried["rules"][0]["send"]["panel"]
    assert (sent["target"], sent["targets"]) == (None, ["gpt", "other"])
    assert sent["body"]["messages"][0]["content"] == "Write for lamp"
    [receipt] = (await server.post("/v1/events", 202, json=EVENT))["data"]
    await idle(server)
    job = await server.get(f"/v1/jobs/{receipt['matched'][0]['job_id']}")
    panel = job["result"]["body"]["panel"]
    assert (job["status"], list(panel["body"])) == ("succeeded", ["gpt", "other"])
    child = await server.get(f"/v1/jobs/{panel['job_id']}")
    assert (child["kind"], child["parent_id"]) == ("fanout", job["id"])
    assert list(child["result"]["body"]) == ["gpt", "other"]
    notifier = server.services.notifier
    assert isinstance(notifier, ScriptedNotifier)
    assert [one.url for one in notifier.sent] == [HOOK["webhook"]]
    assert [(one["type"], one["data"]["id"]) for one in notifier.events] == [("job.succeeded", job["id"])]


async def test_an_entry_that_waits_is_shown_with_its_time(server: Server) -> None:
    await server.post("/v1/rules", 201, json=rule(targets=None, join=None, target="gpt", not_before="10m"))
    [receipt] = (await server.post("/v1/events", 202, json=EVENT))["data"]
    await idle(server)
    listed = await server.get("/v1/jobs", params={"parent_id": receipt["matched"][0]["job_id"]})
    [child] = listed["data"]
    assert (child["status"], child["not_before"]) == ("queued", pytest.approx(child["created_at"] + 600))


@pytest.mark.parametrize(
    ("change", "status", "param", "code"),
    [
        (rule(targets=["gpt", "nobody"]), 404, "target", "model_not_found"),
        (rule(notify={"webhook": "ftp://example.com"}), 400, "notify.webhook", "webhook_url_refused"),
        (rule(notify={"webhook": "https://example.com", "event": []}), 400, "notify.event", "unknown_parameter"),
        (rule(notify="x"), 400, "notify", "invalid_value"),
        (rule(idempotency_key="k"), 400, "send.panel.idempotency_key", "not_supported"),
        (rule(not_before="soon"), 400, "send.panel.not_before", "invalid_value"),
    ],
)
async def test_a_rule_that_can_not_be_acted_on_is_refused_with_its_place(
    server: Server, change: dict[str, Any], status: int, param: str, code: str
) -> None:
    error = (await server.post("/v1/rules", status, json=change))["error"]
    assert (error["param"], error["code"]) == (param, code)
