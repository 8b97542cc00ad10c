"""Deliveries as jobs: when they are made, how they are tried again, and what they cost whom."""

import asyncio
from typing import Any

import msgspec

from forebay.domain.change import Want
from forebay.domain.errors import TargetFailed, TargetRejected, TargetTimeout, TargetUnavailable
from forebay.domain.job import Status
from forebay.domain.order import Order
from forebay.domain.webhook import (
    ENDPOINT,
    NOTIFY,
    Delivered,
    encoded,
    endpoint_data,
)
from forebay.engine.context import Context
from forebay.engine.couriers import SLOTS_OF_A_DEAD_ONE, SLOTS_OF_ONE, Couriers
from forebay.engine.handlers.notify import NotifyHandler
from forebay.engine.intake import make_job
from forebay.engine.services import Services
from forebay.testing.notifiers import ScriptedNotifier, taken
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import BODY, OpenEngine
from .hooks import DAY, URL, deliveries, open_with, register, run


async def test_the_end_of_a_job_reaches_every_endpoint_that_wants_it(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    await register(engine, name="we_1")
    await register(engine, "job.failed", "batch.*", name="we_2", url="https://other.example/")
    job_id = await engine.submit()
    await run(engine)
    [event] = receiver.events
    assert event == {
        "id": receiver.sent[0].event_id,
        "object": "event",
        "created_at": int(engine.clock.now()),
        "type": "job.succeeded",
        "data": {"id": job_id},
    }
    assert receiver.sent[0].url == URL
    [made] = await deliveries(engine)
    assert (made.status, made.queue, made.attempt_count) == (Status.SUCCEEDED, "notify:we_1", 1)


async def test_a_tenant_without_endpoints_has_no_deliveries(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    await register(engine, tenant="other")
    job = await engine.get(await engine.submit())
    await run(engine)
    assert (job.on_end, receiver.sent, await deliveries(engine)) == ((), [], [])


async def test_a_job_that_is_cancelled_or_expires_is_told_too(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    await register(engine)
    cancelled = await engine.submit()
    expired = await engine.submit(deadline=engine.clock.now() + 5)
    await engine.services.jobs.cancel("default", [cancelled])
    engine.clock.advance(6)
    await run(engine)
    told = {event["data"]["id"]: event["type"] for event in receiver.events}
    assert told == {cancelled: "job.cancelled", expired: "job.failed"}


async def test_all_tries_and_all_endpoints_have_one_id_and_the_next_end_has_another(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier(lambda _: Delivered(status_code=500))
    target = ScriptedTarget("t", [TargetRejected("no"), answer()])
    engine = await open_with(open_engine, receiver, target)
    await register(engine)
    await register(engine, name="we_2", url="https://other.example/")
    job_id = await engine.submit()
    await run(engine)
    engine.clock.advance(60)
    await run(engine)
    first = {one.event_id for one in receiver.sent}
    assert (len(receiver.sent), len(first)) == (4, 1)
    await engine.services.jobs.retry("default", [job_id])
    receiver.reply = taken
    receiver.sent.clear()
    engine.clock.advance(1)
    await run(engine)
    by_type = {event["type"]: event["id"] for event in receiver.events}
    assert set(by_type) == {"job.succeeded"}
    assert first.isdisjoint(by_type.values())


async def test_a_delivery_is_tried_for_three_days_and_then_is_a_dead_letter(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier(lambda _: TargetUnavailable("nobody there"))
    engine = await open_with(open_engine, receiver)
    await register(engine)
    await engine.submit()
    began = engine.clock.now()
    while True:
        await run(engine)
        [made] = await deliveries(engine)
        if made.is_terminal:
            break
        engine.clock.advance(made.due_at - engine.clock.now())
    assert (made.status, made.error and made.error.code) == (Status.FAILED, "webhook_unreachable")
    assert 2.5 * DAY < engine.clock.now() - began <= 3 * DAY
    assert 10 <= len(receiver.sent) == made.attempt_count <= 30
    receiver.reply = taken
    await engine.services.jobs.retry("default", [made.id])
    await run(engine)
    assert (await deliveries(engine))[0].status is Status.SUCCEEDED
    assert len({one.event_id for one in receiver.sent}) == 1


async def test_the_wait_that_an_endpoint_asks_for_is_kept(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier(lambda _: Delivered(status_code=503, retry_after=3_600.0))
    engine = await open_with(open_engine, receiver)
    await register(engine)
    await engine.submit()
    await run(engine)
    [made] = await deliveries(engine)
    assert 3_600 <= made.due_at - engine.clock.now() <= 4_000


async def test_redirects_time_outs_and_refusals_are_tried_again(open_engine: OpenEngine) -> None:
    replies = [Delivered(status_code=302), Delivered(status_code=404), TargetTimeout("slow"), TargetFailed("cut")]
    receiver = ScriptedNotifier(lambda _: replies.pop(0) if replies else Delivered(status_code=200))
    engine = await open_with(open_engine, receiver)
    await register(engine)
    await engine.submit()
    for _ in range(5):
        await run(engine)
        [made] = await deliveries(engine)
        engine.clock.advance(max(0.0, made.due_at - engine.clock.now()))
    [made] = await deliveries(engine)
    assert made.status is Status.SUCCEEDED
    assert [one.status_code for one in made.attempts] == [302, 404, None, None, 200]


async def test_an_endpoint_that_is_gone_is_switched_off_and_hears_no_more(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier(lambda _: Delivered(status_code=410))
    engine = await open_with(open_engine, receiver)
    await register(engine)
    waiting = await engine.submit(not_before=engine.clock.now() + 5)
    await engine.submit()
    await run(engine)
    record = await engine.services.records.get("default", ENDPOINT, "we_1")
    assert record is not None
    assert endpoint_data(record).disabled_at == engine.clock.now()
    assert (await engine.get(await engine.submit())).on_end == ()
    engine.clock.advance(6)
    await run(engine)
    codes = [made.error.code for made in await deliveries(engine) if made.error]
    assert (len(receiver.sent), codes) == (1, ["webhook_refused", "endpoint_disabled"])
    assert (await engine.get(waiting)).status is Status.SUCCEEDED


async def test_a_deleted_endpoint_is_sent_nothing(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    await register(engine)
    await engine.submit()
    await engine.services.records.delete("default", ENDPOINT, "we_1")
    await run(engine)
    [made] = await deliveries(engine)
    assert (receiver.sent, made.error and made.error.code) == ([], "endpoint_deleted")


async def test_an_endpoint_that_was_narrowed_since_is_sent_nothing(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    await register(engine)
    await engine.submit()
    record = await engine.services.records.get("default", ENDPOINT, "we_1")
    assert record is not None
    narrowed = msgspec.structs.replace(endpoint_data(record), events=("batch.*",))
    await engine.services.records.put(msgspec.structs.replace(record, data=encoded(narrowed)))
    await run(engine)
    [made] = await deliveries(engine)
    assert (receiver.sent, made.status, made.attempt_count) == ([], Status.SUCCEEDED, 0)


async def test_a_worker_that_dies_before_its_record_sends_the_same_id_again(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    engine = await open_with(open_engine, receiver)
    await register(engine)
    await engine.submit()
    worker = await engine.worker()
    await worker.claim_once()
    await worker._slots.emptied.wait()
    await worker._finisher.flush()
    dying = msgspec.structs.replace(worker.worker, id="worker_dying")
    await engine.services.jobs.renew(dying)
    [claimed] = await engine.services.jobs.claim(dying, [Want(queue="notify:we_1", lane="notify:we_1", slots=1)])
    began = Context(claimed, engine.services, lambda attempt: _begun(engine.services, attempt))
    await NotifyHandler(Couriers(engine.services.jobs))(claimed.job, began)  # and its answer is never written
    engine.clock.advance(60)
    await engine.services.jobs.retire(worker.worker)
    await run(engine)
    first, second = receiver.sent
    assert (first.event_id, first.body) == (second.event_id, second.body)
    [made] = await deliveries(engine)
    assert [str(one.outcome) for one in made.attempts] == ["unknown", "succeeded"]


async def _begun(services: Services, attempt: Any) -> Any:
    [verdict] = await services.jobs.begin([attempt])
    return verdict


async def test_one_endpoint_that_hangs_delays_no_other(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    receiver.held = frozenset({"https://dead.example/"})
    engine = await open_with(open_engine, receiver)
    await register(engine, name="we_dead", url="https://dead.example/")
    await register(engine, name="we_good")
    for _ in range(3 * SLOTS_OF_ONE):
        await engine.submit()
    async with await engine.worker(drain_seconds=30.0):
        async with asyncio.timeout(30):
            while sum(one.url == URL for one in receiver.sent) < 3 * SLOTS_OF_ONE:
                await asyncio.sleep(0.001)
        assert sum(one.url != URL for one in receiver.sent) <= SLOTS_OF_ONE
        receiver.gate.set()


async def test_no_delivery_takes_a_targets_slot(open_engine: OpenEngine) -> None:
    receiver = ScriptedNotifier()
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_with(open_engine, receiver, target)
    await register(engine)
    cancelled = await engine.submit()
    await engine.services.jobs.cancel("default", [cancelled])
    for _ in range(10):
        await engine.submit()
    worker = await engine.worker()
    assert await worker.claim_once() == 4 + 1
    async with asyncio.timeout(30):
        while not receiver.sent:
            await asyncio.sleep(0.001)
    assert receiver.events[0]["data"]["id"] == cancelled
    target.gate.set()
    await worker.run_until_idle()


async def test_an_endpoint_that_failed_has_one_slot_until_it_takes_something(open_engine: OpenEngine) -> None:
    engine = await open_with(open_engine, ScriptedNotifier())
    now = engine.clock.now()
    job = await make_job(Order(body=BODY, target="t"), engine.services)
    jobs = [msgspec.structs.replace(job, id=f"job_{n}", kind=NOTIFY, queue="notify:x") for n in range(20)]
    await engine.services.jobs.add(jobs)
    couriers = Couriers(engine.services.jobs)
    await couriers.look(now)
    slots = []
    for is_well in (True, False, True):
        couriers.heard("notify:x", is_well=is_well)
        slots.append([want.slots for want in couriers.wants()])
    assert slots == [[SLOTS_OF_ONE], [SLOTS_OF_A_DEAD_ONE], [SLOTS_OF_ONE]]
