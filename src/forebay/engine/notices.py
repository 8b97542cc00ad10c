"""Notices: which endpoints hear of a job's end. Every way of making a top-level job asks here.

A job carries a notice for each endpoint that its tenant has when it is made, and those of the configuration; the store
adds their deliveries in the transaction that ends the job. A tenant without endpoints costs a look into a dictionary,
and nothing in the store. What an endpoint that is registered, or widened, later would miss, a job of kind ``subscribe``
hands in (``handlers/subscribe.py``): so a list that is some seconds old in some process loses no event.
"""

import asyncio
import hashlib
from collections.abc import Sequence

from forebay.domain.job import Job, Notice, Spec
from forebay.domain.lane import CONTROL, notify_queue
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import (
    ENDPOINT,
    LIFESPAN_SECONDS,
    MOST_ENDPOINTS,
    NOTIFY,
    SUBSCRIBE,
    ConfiguredEndpoint,
    JobWebhook,
    NotifyArgs,
    Subject,
    SubscribeArgs,
    encoded,
    endpoint_data,
)
from forebay.policy.events import statuses_of
from forebay.ports import Clock, RecordStore

KNOWN_SECONDS = 2.0  # how old a process's list of a tenant's endpoints may be
UNKNOWING_SECONDS = 60.0  # for which jobs are made that may not know a new endpoint; clocks differ
SUBSCRIBING_SECONDS = 400 * 86_400.0  # no job that was live has a deadline so far off
MOST_TENANTS = 10_000


class Listener(Record, frozen=True, kw_only=True):
    """An endpoint as a notice needs it."""

    id: str
    events: tuple[str, ...]


class Notices:
    """The endpoints by tenant, each list read again when it is a few seconds old. Without records nobody listens."""

    def __init__(
        self,
        records: RecordStore | None = None,
        clock: Clock | None = None,
        configured: Sequence[ConfiguredEndpoint] = (),
    ) -> None:
        self._records = records
        self._clock = clock
        self._configured = tuple(Listener(id=one.id, events=one.events) for one in configured)
        self._known: dict[str, tuple[float, tuple[Listener, ...]]] = {}
        self._loading: dict[str, asyncio.Task[tuple[Listener, ...]]] = {}

    async def of(self, tenant: str, subject: Subject) -> tuple[Notice, ...]:
        """The notices of a new job's end."""
        if self._records is None or self._clock is None:
            return ()
        known = self._known.get(tenant)
        if known is not None and 0 <= self._clock.now() - known[0] < KNOWN_SECONDS:
            listeners = known[1]
        else:
            listeners = await self._load(tenant, self._records, self._clock)
        if not listeners:
            return ()
        found = [notice_for(one.id, subject, one.events) for one in listeners]
        return tuple(notice for notice in found if notice is not None)

    def forget(self, tenant: str) -> None:
        """An endpoint changed in this process: its next job knows."""
        self._known.pop(tenant, None)
        self._loading.pop(tenant, None)

    async def _load(self, tenant: str, records: RecordStore, clock: Clock) -> tuple[Listener, ...]:
        loading = self._loading.get(tenant)
        if loading is None:
            loading = self._loading[tenant] = asyncio.create_task(self._read(tenant, records, clock))
        try:
            return await asyncio.shield(loading)
        finally:
            if loading.done() and self._loading.get(tenant) is loading:
                del self._loading[tenant]

    async def _read(self, tenant: str, records: RecordStore, clock: Clock) -> tuple[Listener, ...]:
        now = clock.now()
        found = await records.list(tenant, ENDPOINT, limit=MOST_ENDPOINTS)
        own = [listener for record in found if (listener := _listener(record)) is not None]
        listeners = (*own, *self._configured)
        if len(self._known) >= MOST_TENANTS:
            self._known.clear()
        if self._loading.get(tenant) is asyncio.current_task():  # else it was read before an endpoint changed
            self._known[tenant] = (now, listeners)
        return listeners


def notice_for(endpoint: str, subject: Subject, events: tuple[str, ...]) -> Notice | None:
    """The notice of one endpoint; None if it does not want to hear of such a job, however that ends."""
    statuses = statuses_of(subject, events)
    if not statuses:
        return None
    return Notice(
        kind=NOTIFY,
        queue=notify_queue(endpoint),
        args=encoded(NotifyArgs(subject=subject, endpoint=endpoint)),
        lifespan_seconds=LIFESPAN_SECONDS,
        statuses=statuses,
        metadata={"endpoint_id": endpoint},
    )


def notice_to(webhook: JobWebhook, tenant: str) -> Notice:
    """The notice of an address that a job names itself. Its queue is the address's: a dead one delays no other."""
    mark = hashlib.sha256(f"{tenant}\n{webhook.url}".encode()).hexdigest()[:26]
    args = NotifyArgs(subject=Subject.JOB, url=webhook.url, include=webhook.include, events=webhook.events)
    return Notice(
        kind=NOTIFY,
        queue=notify_queue(f"url_{mark}"),
        args=encoded(args),
        lifespan_seconds=LIFESPAN_SECONDS,
        statuses=statuses_of(Subject.JOB, webhook.events),
        metadata={"endpoint_id": f"url_{mark}"},
    )


def subscription(endpoint: str, tenant: str, *, job_id: str, now: float) -> Job:
    """The job that lets a new or widened endpoint hear of what is live already."""
    args = SubscribeArgs(endpoint=endpoint, since=now, before=now + UNKNOWING_SECONDS)
    return Job(
        id=job_id,
        kind=SUBSCRIBE,
        queue=CONTROL,
        tenant=tenant,
        created_at=now,
        due_at=now,
        deadline=now + SUBSCRIBING_SECONDS,
        spec=Spec(args=encoded(args)),
    )


def _listener(record: StoredRecord) -> Listener | None:
    data = endpoint_data(record)
    return Listener(id=record.id, events=data.events) if data.disabled_at is None else None
