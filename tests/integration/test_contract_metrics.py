"""``/metrics`` where the work is done by other processes than the one that is asked."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.domain.attempt import Outcome, Usage
from forebay.domain.job import Status
from forebay.engine.counts import FRESH_SECONDS, Publisher, published
from forebay.telemetry import MetricsRegistry
from tests.integration.api_server import Server, running_server

ENDED = 'forebay_jobs_total{kind="infer",status="succeeded",target="gpt"}'
CALLS = 'forebay_attempts_total{outcome="succeeded",target="gpt"}'
TOKENS = 'forebay_tokens_total{direction="input",model="gpt-model",target="gpt"}'
COST = 'forebay_cost_usd_total{model="gpt-model",target="gpt"}'
WAITS = 'forebay_job_wait_seconds_count{target="gpt"}'
IN_FLIGHT = 'forebay_in_flight{target="gpt"}'


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def samples(server: Server) -> dict[str, float]:
    async with server.http.get("/metrics") as reply:
        lines = (await reply.text()).splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def count(meters: MetricsRegistry) -> None:
    meters.job_ended("infer", "gpt", Status.SUCCEEDED, 0.2, 0.5)
    meters.attempt_ended("gpt", "gpt-model", Outcome.SUCCEEDED, Usage(input_tokens=3, output_tokens=2), 0.25)
    meters.in_flight("gpt", 1)


async def test_what_other_processes_counted_is_added(server: Server) -> None:
    count(server.services.meters)
    for _ in range(2):
        elsewhere = replace(server.services, meters=MetricsRegistry())
        count(elsewhere.meters)
        await Publisher(elsewhere).publish()
    found = await samples(server)
    assert [found[name] for name in (ENDED, CALLS, TOKENS, COST, WAITS, IN_FLIGHT)] == [3, 3, 9, 0.75, 3, 3]


async def test_events_are_counted_by_whether_a_rule_matched(server: Server) -> None:
    event = {"source": "shop", "detail-type": "t", "detail": {}}
    body = {"model": "gpt-model", "messages": []}
    rule = {"name": "r", "pattern": {"source": ["shop"]}, "send": {"it": {"target": "gpt", "body": body}}}
    await server.post("/v1/rules", 201, json=rule)
    for one in ({**event, "id": "1"}, {**event, "id": "1"}, {**event, "source": "else"}, {**event, "detail": 5}):
        await server.post("/v1/events", 202, json=one)
    elsewhere = replace(server.services, meters=MetricsRegistry())
    elsewhere.meters.event_received(is_matched=True)
    await Publisher(elsewhere).publish()
    found = await samples(server)
    assert found['forebay_events_total{matched="true"}'] == 2
    assert found['forebay_events_total{matched="false"}'] == 1


async def test_publishing_again_counts_nothing_twice(server: Server) -> None:
    elsewhere = replace(server.services, meters=MetricsRegistry())
    publisher = Publisher(elsewhere)
    for expected in (1, 2):
        count(elsewhere.meters)
        await publisher.publish()
        assert (await samples(server))[ENDED] == expected


async def test_a_process_that_went_silent_has_nothing_in_flight_but_its_counts_stay(server: Server) -> None:
    elsewhere = replace(server.services, meters=MetricsRegistry())
    count(elsewhere.meters)
    await Publisher(elsewhere).publish()
    server.clock.advance(FRESH_SECONDS + 1)
    found = await samples(server)
    assert (found[ENDED], found.get(IN_FLIGHT)) == (1, None)


async def test_what_is_counted_at_the_very_end_is_published(server: Server) -> None:
    elsewhere = replace(server.services, meters=MetricsRegistry())
    async with published(elsewhere):
        count(elsewhere.meters)
    assert (await samples(server))[ENDED] == 1
