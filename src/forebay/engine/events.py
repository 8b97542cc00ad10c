"""Events: received, kept for a while, and turned into fan-outs by the rules that they match.

An event is known by its tenant, source and id. Its jobs have keys made of these and of the rule's name, so that what a
crash left half done is finished by the event's repeat, and doubled by none.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from forebay.domain.change import Added
from forebay.domain.content import INLINE_LIMIT_BYTES
from forebay.domain.errors import Conflict, RequestError, StoreUnavailable, VersionConflict
from forebay.domain.fanout import FanoutArgs
from forebay.domain.hops import HOPS_HEADER
from forebay.domain.job import Job
from forebay.domain.order import Order
from forebay.domain.pipeline import Overlap, Pipeline
from forebay.domain.record import Record
from forebay.domain.rule import EVENT, EVENT_KEY, EventData, EventKey, Matched, Rule, event_data, event_key
from forebay.domain.stored import StoredRecord
from forebay.engine.fanouts import make_fanout
from forebay.engine.intake import store_bytes
from forebay.engine.notices import notice_to
from forebay.engine.runs import TRIGGER_MARK
from forebay.engine.services import Services
from forebay.engine.triggers.events import runs_of
from forebay.engine.triggers.firing import replace_older

log = structlog.get_logger(__name__)
LEAST_KEPT_SECONDS = 86_400.0  # as long as an idempotency key: a repeat is known by it
FORGETTING_TRIES = 10
TRIGGER = "trigger:"  # begins the key of a job that an event made


class Incoming(Record, frozen=True, kw_only=True):
    """One event as rules see it. ``text``: its JSON; ``digest``: of what was sent, by which a repeat is told."""

    source: str
    id: str
    type: str
    text: str
    digest: str = ""
    hops: int = 0


class Received(Record, frozen=True, kw_only=True):
    """What came of one event."""

    record: StoredRecord
    data: EventData
    is_replay: bool = False


Add = Callable[[Sequence[Job]], Awaitable[list[Added]]]


async def receive(event: Incoming, services: Services, *, tenant: str, add: Add | None = None) -> Received:
    """Takes an event in; it and the jobs of the rules that it matches are durable when this returns. ``add``: how jobs
    are added, where not by the store's own verb.

    Raises: Conflict: another event has its source and id. RequestError: the event can't be matched, or is one hop too
    far from the first (`too_many_hops`).
    """
    _check_hops(event, services)
    known = await _known(event, services, tenant)
    record = await services.records.get(tenant, EVENT, known.record_id)
    if record is not None:
        return Received(record=record, data=event_data(record), is_replay=True)
    rules = await services.rules.of(tenant)
    jobs = [await _job(rule, event, services, tenant) for rule in rules.matching(event.text)]
    runs = await runs_of(event.text, _digest(event), event.hops, services, tenant=tenant)
    matched = await _added(jobs, runs, services, tenant, add)
    now = services.clock.now()
    data = EventData(
        source=event.source,
        event_id=event.id,
        type=event.type,
        received_at=now,
        matched=matched,
        is_matched="true" if matched else "false",
        hops=event.hops,
    )
    record = await _put(known.record_id, data, event.text, services, tenant)
    services.meters.event_received(is_matched=bool(matched))
    return Received(record=record, data=data)


async def replay(record: StoredRecord, services: Services, *, tenant: str, add: Add | None = None) -> list[Matched]:
    """Sends a kept event through the present rules: those that it has not met yet make their jobs."""
    data = event_data(record)
    text = await text_of(data, services)
    event = Incoming(source=data.source, id=data.event_id, type=data.type, text=text, hops=data.hops)
    rules = await services.rules.of(tenant)
    met = {one.rule for one in data.matched}
    fresh = [rule for rule in rules.matching(text) if rule.name not in met]
    jobs = [await _job(rule, event, services, tenant) for rule in fresh]
    runs = await runs_of(text, _digest(event), data.hops, services, tenant=tenant)
    known_runs = {one.job_id for one in data.matched}
    added = await _added(jobs, runs, services, tenant, add)
    matched = tuple(one for one in added if one.job_id not in known_runs)
    if matched:
        known = msgspec.structs.replace(data, matched=(*data.matched, *matched), is_matched="true")
        try:
            await services.records.put(msgspec.structs.replace(record, data=msgspec.json.encode(known).decode()))
        except VersionConflict:
            return list(matched)  # another replay noted the same
    return list(matched)


async def text_of(data: EventData, services: Services) -> str:
    """The event's own JSON. Raises: NotFound: it is gone. Conflict: it was erased."""
    if data.body is not None:
        return data.body
    if data.blob_id is None:
        raise Conflict(f"The event {data.event_id!r} of source {data.source!r} was erased", code="erased")
    return b"".join([chunk async for chunk in services.blobs.read(data.blob_id)]).decode()


async def forget(job: Job, services: Services) -> None:
    """Erases what the event said that made this job. It stays known: its repeat makes no other job."""
    if not job.key.startswith(TRIGGER):
        return
    record_key = await services.records.get(job.tenant, EVENT_KEY, job.key.rpartition(":")[2])
    if record_key is None:
        return
    for _ in range(FORGETTING_TRIES):
        record = await services.records.get(job.tenant, EVENT, event_key(record_key).record_id)
        if record is None or not _has_words(data := event_data(record)):
            return
        known = msgspec.json.encode(msgspec.structs.replace(data, body=None, blob_id=None)).decode()
        try:
            await services.records.put(msgspec.structs.replace(record, data=known, blobs=()))
        except VersionConflict:  # a replay noted what it made
            continue
        if data.blob_id is not None:
            await services.blobs.delete(await services.jobs.orphans([data.blob_id]))
        return
    raise StoreUnavailable(f"the event of job {job.id!r} changes all the time; try again")


def kept_seconds(services: Services) -> float:
    """How long an event is kept after it came, for a look at what came and a replay."""
    bounds = services.bounds
    return max(LEAST_KEPT_SECONDS, min(bounds.event_ttl_seconds, bounds.result_ttl_seconds))


def order_of(rule: Rule, event: Incoming, services: Services, tenant: str) -> Order:
    """The fan-out that a rule makes of an event. The address of its notice is judged when it is told."""
    now = services.clock.now()
    return Order(
        body=event.text,
        key=f"{TRIGGER}{rule.name}:{_digest(event)}",
        deadline=None if rule.deadline_seconds is None else now + rule.deadline_seconds,
        budget_usd=rule.budget_usd,
        fanout=FanoutArgs(
            branches=rule.send,
            successes=None if rule.successes is None else min(rule.successes, len(rule.send)),
            on_failure=rule.on_failure,
            aggregation=rule.aggregation,
            rule=rule.name,
        ),
        hops=event.hops + 1,
        on_end=() if rule.notify is None else (notice_to(rule.notify, tenant),),
        metadata={"rule": rule.name, "event_id": event.id[:512], "event_source": event.source[:512]},
    )


def _check_hops(event: Incoming, services: Services) -> None:
    """A rule whose target publishes what the rule matches goes round until this ends it, and tells."""
    most = services.bounds.max_event_hops
    if event.hops > most:
        log.warning("event_cycle", source=event.source, type=event.type, hops=event.hops)
        message = f"{event.hops} events led to this one, each set off by the one before, where {most} may"
        raise RequestError(
            f"{message} (setting `max_event_hops`): does a rule match what its own target publishes?",
            param=HOPS_HEADER,
            code="too_many_hops",
        )


async def _job(rule: Rule, event: Incoming, services: Services, tenant: str) -> Job:
    return await make_fanout(order_of(rule, event, services, tenant), services, tenant=tenant)


async def _added(
    jobs: Sequence[Job], runs: Sequence[tuple[Pipeline, Job]], services: Services, tenant: str, add: Add | None
) -> tuple[Matched, ...]:
    names = [job.spec.metadata["rule"] for job in jobs] + [run.spec.metadata[TRIGGER_MARK] for _, run in runs]
    all_of_them = [*jobs, *[run for _, run in runs]]
    added = await (add or services.jobs.add)(all_of_them) if all_of_them else []
    for (pipeline, _), one in zip(runs, added[len(jobs) :], strict=True):
        if pipeline.overlap is Overlap.REPLACE:
            await replace_older(pipeline, one.id, services, tenant=tenant)
    return tuple(Matched(rule=name, job_id=one.id) for name, one in zip(names, added, strict=True))


async def _known(event: Incoming, services: Services, tenant: str) -> EventKey:
    """The key of this event, made now or before. Raises: Conflict."""
    now = services.clock.now()
    key = EventKey(record_id=services.ids.new("event"), digest=event.digest)
    record = StoredRecord(
        kind=EVENT_KEY,
        id=_digest(event),
        tenant=tenant,
        data=msgspec.json.encode(key).decode(),
        created_at=now,
        expires_at=now + kept_seconds(services),
    )
    try:
        await services.records.put(record)
    except VersionConflict:
        found = await services.records.get(tenant, EVENT_KEY, record.id)
        if found is None:
            raise
        known = event_key(found)
        if known.digest != event.digest:
            message = f"Another event of source {event.source!r} has the id {event.id!r}"
            raise Conflict(message, code="idempotency_conflict") from None
        return known
    return key


async def _put(record_id: str, data: EventData, text: str, services: Services, tenant: str) -> StoredRecord:
    blobs: tuple[str, ...] = ()
    encoded = text.encode()
    if len(encoded) > INLINE_LIMIT_BYTES:
        content = await store_bytes(encoded, services.blobs)
        data, blobs = msgspec.structs.replace(data, blob_id=content.blob_id), (content.blob_id or "",)
    else:
        data = msgspec.structs.replace(data, body=text)
    record = StoredRecord(
        kind=EVENT,
        id=record_id,
        tenant=tenant,
        data=msgspec.json.encode(data).decode(),
        created_at=data.received_at,
        expires_at=data.received_at + kept_seconds(services),
        blobs=blobs,
    )
    try:
        return await services.records.put(record)
    except VersionConflict:  # the same event came twice at once
        found = await services.records.get(tenant, EVENT, record_id)
        if found is None:
            raise
        return found


def _has_words(data: EventData) -> bool:
    return data.body is not None or data.blob_id is not None


def _digest(event: Incoming) -> str:
    return hashlib.sha256(f"{len(event.source)}:{event.source}{event.id}".encode()).hexdigest()[:40]
