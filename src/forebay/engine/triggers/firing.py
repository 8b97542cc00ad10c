"""Firing: one run, or none, of what a trigger says, by what the pipeline allows beside a run that is live.

A run's key is its firing's: whoever fires it again, after a crash or on another server, finds the run that is there.
"""

import msgspec
import structlog

from forebay.domain.errors import VersionConflict
from forebay.domain.job import LIVE, Job
from forebay.domain.pipeline import PIPELINE, Overlap, Pipeline, RunArgs, RunTrigger, TriggerType
from forebay.domain.query import ROOTS_ONLY, JobQuery
from forebay.domain.schedule import TURN, Firing, Turn, encoded, turn_of
from forebay.domain.stored import StoredRecord
from forebay.engine.runs import PIPELINE_MARK, RunOrder, make_run, start_run
from forebay.engine.services import Services

log = structlog.get_logger(__name__)
FIRED = frozenset({TriggerType.CRON, TriggerType.RATE, TriggerType.AT, TriggerType.FILES, TriggerType.EVENT})
MOST_LIVE = 32  # runs of a pipeline that are looked at together
PENDING_SECONDS = 60.0  # so long a turn that was taken holds without its run
TURNS = (1.0, 30.0)  # seconds between two looks of a run that waits for those before it


async def fire(pipeline: Pipeline, firing: Firing, services: Services, *, tenant: str) -> str | None:
    """Begins the firing's run and returns its job's id; None: a live run is in its way, and it is skipped.

    Raises: RequestError: no run can be made of its parameters.
    """
    order = order_of(firing)
    if pipeline.overlap is Overlap.SKIP and not firing.must_wait:
        return await _fire_alone(pipeline, order, services, tenant)
    job_id = await start_run(waiting(pipeline, firing), order, services, tenant=tenant)
    if pipeline.overlap is Overlap.REPLACE:
        await replace_older(pipeline, job_id, services, tenant=tenant)
    return job_id


def waiting(pipeline: Pipeline, firing: Firing) -> Pipeline:
    """The pipeline as the firing's run has it: one that may not be skipped comes after those that are live."""
    is_skipping = pipeline.overlap is Overlap.SKIP and firing.must_wait
    return msgspec.structs.replace(pipeline, overlap=Overlap.QUEUE) if is_skipping else pipeline


async def replace_older(pipeline: Pipeline, job_id: str, services: Services, *, tenant: str) -> None:
    """Cancels the live runs before this one. Of two at once the younger stays, whoever asks first."""
    after: str | None = None
    while True:
        live = await live_runs(pipeline.name, services, tenant, after=after)
        older = [job.id for job in live if job.id < job_id]
        if older:
            log.info("runs_replaced", pipeline=pipeline.name, runs=len(older))
            await services.jobs.cancel(tenant, older)
        if len(older) < MOST_LIVE:
            return
        after = older[-1]


async def seconds_until_turn(job: Job, args: RunArgs, services: Services) -> float | None:
    """How long a run that was fired is to wait, before it looks again, for those before it; None: it may begin."""
    if args.pipeline.overlap is not Overlap.QUEUE or args.trigger.type not in FIRED or job.progress is not None:
        return None
    live = await live_runs(args.pipeline.name, services, job.tenant)
    before = sum(one.id != job.id and (one.id < job.id or one.progress is not None) for one in live)
    return min(max(float(before), TURNS[0]), TURNS[1]) if before else None


async def live_runs(pipeline: str, services: Services, tenant: str, *, after: str | None = None) -> list[Job]:
    """The first runs of a pipeline that have not ended, the oldest first; those of a `call` are their callers'."""
    query = JobQuery(
        tenant=tenant,
        parent_id=ROOTS_ONLY,
        kinds=frozenset({PIPELINE}),
        statuses=LIVE,
        metadata={PIPELINE_MARK: pipeline},
        limit=MOST_LIVE,
        is_ascending=True,
        after=after,
    )
    return await services.jobs.find(query)


async def run_with(key: str, services: Services, tenant: str) -> str | None:
    """The job of the run that has this key."""
    query = JobQuery(tenant=tenant, parent_id=ROOTS_ONLY, key=key, limit=1)
    found = await services.jobs.find(query)
    return found[0].id if found else None


def order_of(firing: Firing) -> RunOrder:
    """The run that a firing asks for."""
    trigger = firing.trigger
    told = RunTrigger(type=trigger.type, name=trigger.name, fire_time=firing.fire_time, detail=firing.detail)
    return RunOrder(params={**trigger.params, **firing.params}, trigger=told, key=firing.key, hops=firing.hops)


async def _fire_alone(pipeline: Pipeline, order: RunOrder, services: Services, tenant: str) -> str | None:
    """Two triggers of one pipeline may fire at once on two servers: the record of its turn says whose run it is. It is
    written before the run is added; one whose run never came is another's a minute later.
    """
    while True:
        if (known := await run_with(order.key, services, tenant)) is not None:
            return known
        record = await services.records.get(tenant, TURN, pipeline.name)
        if await live_runs(pipeline.name, services, tenant) or await _is_pending(record, order.key, services):
            return None
        job = await make_run(pipeline, order, services, tenant=tenant)
        turn = Turn(job_id=job.id, key=order.key, taken_at=await services.jobs.now())
        held = record or StoredRecord(kind=TURN, id=pipeline.name, tenant=tenant, created_at=turn.taken_at)
        try:
            await services.records.put(msgspec.structs.replace(held, data=encoded(turn)))
        except VersionConflict:
            continue
        [added] = await services.jobs.add([job])
        return added.id


async def _is_pending(record: StoredRecord | None, key: str, services: Services) -> bool:
    """Whether another firing has taken the turn, and its run is still to come."""
    if record is None or (turn := turn_of(record)).key == key:
        return False
    if abs(await services.jobs.now() - turn.taken_at) > PENDING_SECONDS:
        return False
    [job] = await services.jobs.get(record.tenant, [turn.job_id])
    return job is None
