"""What both wires of batches do alike: making a batch once, finding it again, and asking it to end."""

from contextlib import suppress

from msgspec.structs import replace

from forebay.api.context import Api, Caller
from forebay.api.idempotency import REPEAT_SECONDS, Identity, check_same
from forebay.domain.change import Added
from forebay.domain.errors import VersionConflict
from forebay.domain.job import Job
from forebay.domain.query import JobQuery
from forebay.domain.stored import StoredRecord
from forebay.engine.handlers.batch import BatchOrder, make_batch

CANCELLING = "batch_cancel"  # records: when a batch was asked to be cancelled


async def known_batch(identity: Identity, api: Api, caller: Caller) -> str | None:
    """The job of the batch that an equal request made before. Raises: Conflict: its key stands for another body."""
    jobs = api.services.jobs
    if identity.is_repeat:
        since = api.services.clock.now() - REPEAT_SECONDS
        query = JobQuery(tenant=caller.tenant, parent_id=None, origin=identity.origin, created_after=since, limit=1)
        if repeated := await jobs.find(query):
            return repeated[0].id
    if identity.key and (found := await jobs.find(JobQuery(tenant=caller.tenant, key=identity.key, limit=1))):
        check_same(found[0].fingerprint, identity.fingerprint)
        return found[0].id
    return None


async def admit_batch(order: BatchOrder, api: Api, caller: Caller) -> Added:
    """Adds the batch, or finds the one that an equal request made at the same moment. Raises: Conflict, TooMany."""
    job = await api.quotas.making(caller.tenant, lambda: make_batch(order, api.services, tenant=caller.tenant))
    [added] = await api.quotas.add([job])
    if not added.is_new:
        check_same(added.fingerprint, order.fingerprint)
    return added


def identified(order: BatchOrder, identity: Identity) -> BatchOrder:
    """The order under its request's identity."""
    return replace(order, key=identity.key, fingerprint=identity.fingerprint, origin=identity.origin)


async def ask_to_cancel(job: Job, api: Api) -> None:
    """Asks a live batch to end, and keeps when it was first asked, as long as the batch may be read."""
    record = StoredRecord(
        kind=CANCELLING,
        id=job.id,
        tenant=job.tenant,
        created_at=api.services.clock.now(),
        expires_at=job.deadline + 2 * api.services.bounds.result_ttl_seconds,
    )
    with suppress(VersionConflict):  # it was asked before
        await api.services.records.put(record)
    await api.services.jobs.cancel(job.tenant, [job.id])


async def asked_to_cancel_at(job: Job, api: Api) -> float | None:
    """When it was first asked; None where it was cancelled as a job (``/v1/jobs/{id}/cancel``)."""
    record = await api.services.records.get(job.tenant, CANCELLING, job.id)
    return None if record is None else record.created_at
