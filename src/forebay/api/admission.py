"""Admission: how an order becomes exactly one durable job, whoever repeats it."""

from forebay.api.context import Api, Caller
from forebay.api.idempotency import REPEAT_SECONDS, Identity, check_same
from forebay.domain.errors import NotFound, RequestError
from forebay.domain.job import Job
from forebay.domain.order import Order
from forebay.domain.query import JobQuery
from forebay.domain.record import Record
from forebay.domain.tenant import spec_of
from forebay.engine.fanouts import make_fanout
from forebay.engine.intake import check_order, make_job


class Admitted(Record, frozen=True, kw_only=True):
    """The job that stands for a request. ``job`` is set where this request made it."""

    id: str
    job: Job | None = None

    @property
    def is_replay(self) -> bool:
        return self.job is None


async def admit(order: Order, identity: Identity, api: Api, caller: Caller) -> Admitted:
    """Makes the order's job, durable when this returns, or finds the one that an equal request made before.

    Raises: RequestError, NotFound: it can't be done so. Conflict: its key stands for another body. TooMany.
    """
    if identity.is_repeat and (repeated := await _repeated(identity.origin, api, caller)):
        return Admitted(id=repeated)
    try:
        job = await made(order, api, caller)
    except RequestError:
        # What was accepted once is answered as then, even if its model is no longer configured, or a limit is reached.
        if identity.key and (known := await known_job(identity, api, caller)):
            return Admitted(id=known.id)
        raise
    [added] = await api.quotas.add([job])
    if added.is_new:
        return Admitted(id=added.id, job=job)
    check_same(added.fingerprint, identity.fingerprint)
    return Admitted(id=added.id)


async def load(job_id: str, api: Api, caller: Caller) -> Job:
    """Reads a job whole. Raises: NotFound."""
    job = await api.reader.get(caller.tenant, job_id)
    if job is None:
        raise no_job(job_id)
    return job


def no_job(job_id: str) -> NotFound:
    """The refusal of an id that stands for nothing (of this tenant)."""
    return NotFound(f"There is no job {job_id!r}", param="id")


async def known_job(identity: Identity, api: Api, caller: Caller) -> Job | None:
    """The job that stands for a request's key. Raises: Conflict: for another request."""
    found = await api.services.jobs.find(JobQuery(tenant=caller.tenant, key=identity.key, limit=1))
    if not found:
        return None
    check_same(found[0].fingerprint, identity.fingerprint)
    return found[0]


async def made(order: Order, api: Api, caller: Caller) -> Job:
    """Makes the job, with a place among what its tenant may hand in. Raises: RequestError, NotFound, TooMany."""
    highest = spec_of(caller.tenant, api.services.tenants).max_priority
    if order.priority > highest:
        raise RequestError(f"priority: this tenant's jobs have at most {highest}", param="priority")
    check_order(order, api.services.bounds)
    make = make_job if order.fanout is None else make_fanout
    return await api.quotas.making(caller.tenant, lambda: make(order, api.services, tenant=caller.tenant))


async def _repeated(origin: str, api: Api, caller: Caller) -> str | None:
    since = api.services.clock.now() - REPEAT_SECONDS
    query = JobQuery(tenant=caller.tenant, parent_id=None, origin=origin, created_after=since, limit=1)
    found = await api.services.jobs.find(query)
    return found[0].id if found else None
