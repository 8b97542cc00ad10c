"""Which addresses hear of a job: those that it names, those of the configuration, and those that came later."""

import json
from dataclasses import replace

import pytest

from forebay.domain.errors import RequestError
from forebay.domain.job import Status
from forebay.domain.order import Order
from forebay.domain.query import JobQuery
from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import (
    ENDPOINT,
    LARGEST_VIEW_BYTES,
    Delivered,
    EndpointData,
    Include,
    JobWebhook,
    encoded,
)
from forebay.engine.intake import make_job
from forebay.engine.notices import KNOWN_SECONDS, UNKNOWING_SECONDS, subscription
from forebay.secrets import Secrets
from forebay.testing.notifiers import ScriptedNotifier, taken
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import BODY, Engine, OpenEngine
from .hooks import DAY, URL, configured, deliveries, open_with, register, run


async def test_a_job_names_an_address_and_has_itself_sent(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    job_id = await engine.submit(notify=JobWebhook(url=URL, include=Include.JOB, events=("job.succeeded",)))
    await run(engine)
    [event] = receiver.events
    assert (receiver.checked, event["data"]["id"], event["data"]["status"]) == ([URL], job_id, "succeeded")
    assert event["data"]["result"]["body"] == json.loads(answer().body)
    assert len(event["data"]["attempts"]) == 1


async def test_a_job_that_is_too_large_is_named_alone(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    large = answer("x" * LARGEST_VIEW_BYTES)
    engine = await open_with(open_engine, receiver, ScriptedTarget("t", [large]))
    job_id = await engine.submit(notify=JobWebhook(url=URL, include=Include.JOB))
    await run(engine)
    assert receiver.events[0]["data"] == {"id": job_id}


async def test_an_address_that_a_job_names_hears_of_the_ends_that_it_asked_for(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    await engine.submit(notify=JobWebhook(url=URL, events=("job.failed",)))
    await run(engine)
    assert (receiver.sent, await deliveries(engine)) == ([], [])


async def test_a_process_hears_of_another_ones_endpoints_within_seconds(open_engine: OpenEngine) -> None:
    engine = await open_with(open_engine, ScriptedNotifier())
    assert (await engine.get(await engine.submit())).on_end == ()
    now = engine.clock.now()
    data = encoded(EndpointData(name="x", url=URL, events=("*",), updated_at=now))
    await engine.services.records.put(StoredRecord(kind=ENDPOINT, id="we_1", data=data, created_at=now))
    assert (await engine.get(await engine.submit())).on_end == ()
    engine.clock.advance(KNOWN_SECONDS)
    assert len((await engine.get(await engine.submit())).on_end) == 1


async def test_an_endpoint_hears_of_what_was_live_when_it_was_registered(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    before = await engine.submit()
    await run(engine)
    engine.clock.advance(1)
    live = [await engine.submit(not_before=engine.clock.now() + seconds) for seconds in (30, 90)]
    now = engine.clock.now()
    data = encoded(EndpointData(name="x", url=URL, events=("*",), updated_at=now))
    await engine.services.records.put(StoredRecord(kind=ENDPOINT, id="we_1", data=data, created_at=now))
    await engine.services.jobs.add([subscription("we_1", "default", job_id=engine.services.ids.new("job"), now=now)])
    live.append(await engine.submit())  # made in a process that does not know yet
    engine.services.notices.forget("default")
    live.append(await engine.submit())  # and in one that does
    assert [len((await engine.get(job_id)).on_end) for job_id in live] == [0, 0, 0, 1]
    for _ in range(40):
        await run(engine)
        engine.clock.advance(5)
    assert sorted(event["data"]["id"] for event in receiver.events) == sorted(live)
    assert before not in {event["data"]["id"] for event in receiver.events}
    left = await engine.services.jobs.find(JobQuery(tenant=None, kinds=frozenset({"subscribe"})))
    assert (engine.clock.now() > now + UNKNOWING_SECONDS, [job.status for job in left]) == (True, [Status.SUCCEEDED])


async def test_an_endpoint_that_is_switched_off_gets_no_deliveries_by_having_been_registered(
    open_engine: OpenEngine,
) -> None:
    engine = await open_with(open_engine, ScriptedNotifier())
    await engine.submit()
    now = engine.clock.now()
    data = EndpointData(
        name="x", url=URL, events=("*",), updated_at=now, disabled_at=now, disabled_reason="It answered 410"
    )
    await engine.services.records.put(StoredRecord(kind=ENDPOINT, id="we_1", data=encoded(data), created_at=now))
    await engine.services.jobs.add([subscription("we_1", "default", job_id=engine.services.ids.new("job"), now=now)])
    await run(engine)
    assert await deliveries(engine) == []
    [job] = await engine.services.jobs.find(JobQuery(tenant=None, kinds=frozenset({"subscribe"})))
    assert job.status is Status.SUCCEEDED


async def test_an_address_of_the_configuration_hears_of_every_tenant(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = configured(await open_with(open_engine, receiver), "job.succeeded")
    for tenant in ("default", "acme"):
        job = await make_job(Order(body=BODY, target="t"), engine.services, tenant=tenant)
        await engine.services.jobs.add([job])
    await run(engine)
    assert [made.tenant for made in await deliveries(engine)] == ["default", "acme"]
    assert {one.secrets for one in receiver.sent} == {(b"a secret of the configuration",)}
    assert all(URL not in (made.spec.args or "") for made in await deliveries(engine))


async def test_an_address_of_the_configuration_that_is_gone_is_left_alone_for_a_day(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier(lambda _: Delivered(status_code=410))
    engine = configured(await open_with(open_engine, receiver))
    for _ in range(2):
        await engine.submit()
        await run(engine)
    assert [made.error.code for made in await deliveries(engine) if made.error] == [
        "webhook_refused",
        "endpoint_disabled",
    ]
    engine.clock.advance(DAY + 1)
    await engine.services.records.expire()
    receiver.reply = taken
    await engine.submit()
    await run(engine)
    assert (await deliveries(engine))[-1].status is Status.SUCCEEDED


async def test_without_a_secret_key_a_delivery_waits_for_a_worker_that_has_one(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    await register(engine)
    await engine.submit()
    keyless = Engine(replace(engine.services, secrets=Secrets()), engine.clock)
    await run(keyless)
    [made] = await deliveries(engine)
    assert (receiver.sent, made.status, made.error and made.error.code) == ([], Status.QUEUED, "secret_key_missing")
    with pytest.raises(RequestError, match="secret_key"):
        await keyless.submit(notify=JobWebhook(url=URL))
    engine.clock.advance(60)
    await run(engine)
    assert len(receiver.sent) == 1
