"""Events come in, rules send them on, and whoever asks sees why."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.engine.events import Incoming, receive
from forebay.engine.services import Bounds
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.testing.system import open_services
from forebay.testing.targets import ScriptedTarget
from tests.integration.api_server import Server, running_server

EVENT = {"id": "1", "source": "shop", "detail-type": "product.created", "detail": {"name": "lamp", "price": 120}}
ASK = {"model": "gpt-model", "messages": [{"role": "user", "content": "Write for {detail.name}"}]}
RULE: dict[str, Any] = {
    "name": "launch",
    "pattern": {"source": ["shop"], "detail": {"price": [{"numeric": [">", 100]}]}},
    "send": {"copy": {"target": "gpt", "body": ASK}, "other": {"target": "other", "body": {**ASK, "model": "x"}}},
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def _send(server: Server, event: Any, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await server.post("/v1/events", 202, json=event, **options))["data"]
    return found


async def test_an_event_becomes_a_fan_out_by_the_rule_that_it_matches(server: Server) -> None:
    rule = await server.post("/v1/rules", 201, json=RULE)
    assert (rule["object"], rule["origin"], rule["enabled"], rule["version"]) == ("rule", "api", True, 1)
    [receipt] = await _send(server, EVENT)
    assert receipt["id"] == "1"
    [matched] = receipt["matched"]
    assert matched["rule"] == "launch"
    async with WorkerProcess(server.services, WorkerOptions()):
        job = await server.get(f"/v1/jobs/{matched['job_id']}", params={"wait": "60"})
    assert (job["kind"], job["status"]) == ("fanout", "succeeded")
    assert list(job["result"]["body"]) == ["copy", "other"]
    assert job["metadata"]["rule"] == "launch"
    child = await server.get(f"/v1/jobs/{job['result']['body']['copy']['job_id']}")
    assert child["parent_id"] == job["id"]


async def test_targets_are_told_how_many_events_led_to_them_and_one_too_many_is_refused(server: Server) -> None:
    await server.post("/v1/rules", 201, json=RULE)
    after: dict[str, Any] = {"headers": {"forebay-hops": "8"}}
    await _send(server, EVENT, **after)
    await server.post("/v1/jobs", 202, json={"targets": ["gpt"], "body": ASK}, **after)
    await server.post("/v1/jobs", 202, json={"target": "gpt", "body": ASK}, **after)
    line = json.dumps({"target": "gpt", "body": ASK})
    async with server.http.post("/v1/jobs/bulk", data=line, **after) as reply:
        assert reply.status == 200, await reply.text()
    await asyncio.wait_for(WorkerProcess(server.services, WorkerOptions()).run_until_idle(), 120)
    target = server.services.targets["gpt"]
    assert isinstance(target, ScriptedTarget)
    assert sorted(call.hops for call in target.calls) == [8, 8, 8, 9]
    [refused] = await _send(server, {**EVENT, "id": "9"}, headers={"forebay-hops": "9"})
    assert (refused["error"]["code"], refused["error"]["param"]) == ("too_many_hops", "forebay-hops")
    assert "max_event_hops" in refused["error"]["message"]
    await server.post("/v1/events", 400, json=EVENT, headers={"forebay-hops": "-1"})


@pytest.mark.parametrize(("ttl", "kept"), [(60.0, 86_400.0), (3 * 86_400.0, 3 * 86_400.0), (9e9, 30 * 86_400.0)])
async def test_events_are_kept_as_long_as_they_are_said_to_be(ttl: float, kept: float, tmp_path: Path) -> None:
    async with open_services(tmp_path, [], bounds=Bounds(event_ttl_seconds=ttl)) as services:
        event = Incoming(source="shop", id="1", type="t", text="{}")
        record = (await receive(event, services, tenant="default")).record
        assert record.expires_at == record.created_at + kept


async def test_a_repeated_event_is_answered_as_before_and_runs_nothing_twice(server: Server) -> None:
    await server.post("/v1/rules", 201, json=RULE)
    first = await _send(server, EVENT)
    assert await _send(server, EVENT) == first
    several = await asyncio.gather(*(_send(server, {**EVENT, "id": "2"}) for _ in range(8)))
    assert len({json.dumps(one) for one in several}) == 1
    assert len((await server.get("/v1/jobs"))["data"]) == 2
    server.clock.advance(3600)  # it has no time of its own: the repeat is filled in with a later one
    assert await _send(server, dict(reversed(EVENT.items()))) == first
    [refused] = await _send(server, {**EVENT, "detail": {"price": 1}})
    assert refused["error"]["code"] == "idempotency_conflict"


async def test_each_event_of_an_array_is_taken_or_refused_on_its_own(server: Server) -> None:
    await server.post("/v1/rules", 201, json=RULE)
    cheap = {**EVENT, "id": "cheap", "detail": {"price": 1}}
    lacking = {"source": "shop", "detail": {}}
    receipts = await _send(server, [EVENT, lacking, 5, cheap, {**EVENT, "id": None}])
    assert [list(receipt) for receipt in receipts] == [
        ["id", "matched"],
        ["error"],
        ["error"],
        *[["id", "matched"]] * 2,
    ]
    assert receipts[1]["error"]["param"] == "detail-type"
    assert receipts[3]["matched"] == []
    assert receipts[4]["id"].startswith("evt_")


@pytest.mark.parametrize("is_binary", [False, True])
async def test_cloud_events_come_structured_and_binary(server: Server, is_binary: bool) -> None:
    rule = {**RULE, "pattern": {"type": ["product.created"], "data": {"price": [120]}}}
    rule["send"] = {"copy": {"target": "gpt", "body": {**ASK, "q": "{data.name} {detail.name}"}}}
    await server.post("/v1/rules", 201, json=rule)
    attributes = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "product.created"}
    if is_binary:
        headers = {f"ce-{name}": value for name, value in attributes.items()}
        options: dict[str, Any] = {"json": EVENT["detail"], "headers": headers}
    else:
        text = json.dumps({**attributes, "data": EVENT["detail"]})
        options = {"data": text, "headers": {"content-type": "application/cloudevents+json; charset=utf-8"}}
    [receipt] = (await server.post("/v1/events", 202, **options))["data"]
    assert (receipt["id"], len(receipt["matched"])) == ("7", 1)


async def test_what_no_rule_matched_is_listed_and_can_be_sent_through_later_rules(server: Server) -> None:
    await _send(server, [EVENT, {**EVENT, "id": "2", "source": "else"}])
    unmatched = await server.get("/v1/events", params={"unmatched": "true"})
    assert [event["id"] for event in unmatched["data"]] == ["2", "1"]
    await server.post("/v1/rules", 201, json=RULE)
    replayed = (await server.post("/v1/events/replay", 202, json={"unmatched": True}))["data"]
    assert {one["id"]: len(one["matched"]) for one in replayed} == {"1": 1, "2": 0}
    again = (await server.post("/v1/events/replay", 202, json={"ids": [unmatched["data"][1]["record_id"]]}))["data"]
    assert again == [{"id": "1", "matched": []}], "a rule that it has met"
    listed = await server.get("/v1/events", params={"unmatched": "true"})
    assert [event["id"] for event in listed["data"]] == ["2"]
    assert [event["id"] for event in (await server.get("/v1/events"))["data"]] == ["2", "1"]


async def test_a_rule_is_changed_rested_and_deleted(server: Server) -> None:
    await server.post("/v1/rules", 201, json=RULE)
    assert (await server.post("/v1/rules", 409, json=RULE))["error"]["code"] == "conflict"
    rested = await server.post("/v1/rules/launch/disable")
    assert (rested["enabled"], rested["version"]) == (False, 2)
    assert (await _send(server, EVENT))[0]["matched"] == []
    await server.post("/v1/rules/launch/enable")
    assert len((await _send(server, {**EVENT, "id": "2"}))[0]["matched"]) == 1
    async with server.http.put("/v1/rules/launch", json={**RULE, "pattern": {"source": ["else"]}}) as reply:
        assert (reply.status, (await reply.json())["version"]) == (200, 4)
    assert (await _send(server, {**EVENT, "id": "3"}))[0]["matched"] == []
    async with server.http.delete("/v1/rules/launch") as reply:
        assert await reply.json() == {"name": "launch", "object": "rule", "deleted": True}
    await server.get("/v1/rules/launch", 404)
    assert (await server.get("/v1/rules"))["data"] == []


async def test_a_rule_is_tried_without_sending_anything(server: Server) -> None:
    await server.post("/v1/rules", 201, json=RULE)
    tried = await server.post("/v1/rules/test", json={"event": EVENT})
    assert tried["rules"][0]["send"]["copy"]["body"]["messages"][0]["content"] == "Write for lamp"
    missing = await server.post("/v1/rules/test", json={"event": {"source": "shop", "detail": {"price": 101}}})
    assert missing["rules"][0]["send"]["copy"]["error"]["code"] == "template_field_missing"
    alone = await server.post("/v1/rules/test", json={"event": EVENT, "pattern": {"source": ["shop"]}})
    assert alone == {"matched": True, "rules": []}
    assert (await server.get("/v1/jobs"))["data"] == []


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"pattern": {"a": [{"nummeric": [">", 1]}]}}, "pattern", "invalid_pattern"),
        ({"send": {}}, "send", "invalid_value"),
        ({"send": {"a": {"target": "gpt", "bdy": {}}}}, "send.a.bdy", "unknown_parameter"),
        ({"send": {"a": {"target": "gpt"}}}, "send.a.body", "missing_required_parameter"),
        ({"send": {"a": {"body": {"x": 1}}}}, "send.a", "invalid_value"),
        ({"send": {"a": {"target": "gpt", "body": {}, "notify": {}}}}, "send.a.notify", "not_supported"),
        ({"join": {"successes": 3}}, "join.successes", "invalid_value"),
        ({"aggregate": {"vote": "..."}}, "aggregate.vote", "invalid_value"),
        ({"deadline": "soon"}, "deadline", "invalid_value"),
        ({"name": "a/b"}, "name", "invalid_value"),
        ({"patern": {}}, "patern", "unknown_parameter"),
    ],
)
async def test_a_wrong_rule_is_refused_with_its_place(
    server: Server, change: dict[str, Any], param: str, code: str
) -> None:
    error = (await server.post("/v1/rules", 400, json={**RULE, **change}))["error"]
    assert (error["param"], error["code"]) == (param, code)


async def test_a_rule_for_a_target_that_is_not_there_is_a_404(server: Server) -> None:
    rule = {**RULE, "send": {"a": {"target": "nobody", "body": {}}}}
    assert (await server.post("/v1/rules", 404, json=rule))["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({}, "no json"),
        ({"content-type": "application/cloudevents-batch+json"}, "{}"),
        ({"content-type": "application/cloudevents+json"}, "[]"),
        ({}, "[" + ",".join(["{}"] * 1001) + "]"),
    ],
)
async def test_a_body_that_is_no_list_of_events_is_refused_whole(
    server: Server, headers: dict[str, str], data: str
) -> None:
    await server.post("/v1/events", 400, data=data, headers=headers)
