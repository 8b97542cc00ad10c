"""How a live inference stands: for the run's view, while it works."""

from forebay.domain.asking import asking_of
from forebay.domain.attempt import summed, summed_usd
from forebay.domain.job import Job
from forebay.domain.pipeline import Counts, StepOutcome
from forebay.engine.services import Services


async def standing(job: Job, services: Services) -> StepOutcome:
    """Counts, usage and cost so far, with those of the batch that is under way. No output."""
    cursor = asking_of(job.progress)
    planned = cursor.planned
    if planned is None:
        return StepOutcome()
    answered, failed = cursor.answered, cursor.failed
    usage, cost_usd = cursor.usage, cursor.cost_usd
    if cursor.batch is not None:
        [tally] = await services.jobs.tally([cursor.batch.batch_id])
        per_call = 1 if not cursor.batch.records else cursor.batch.records / max(cursor.batch.lines, 1)
        answered += round(tally.succeeded * per_call)
        failed += round((tally.failed + tally.cancelled) * per_call)
        usage, cost_usd = summed((usage, tally.usage)), summed_usd((cost_usd, tally.cost_usd))
    counts = Counts(
        entered=planned.entered,
        succeeded=planned.paid + answered,
        failed=planned.refused + failed,
        reused=planned.paid,
    )
    return StepOutcome(counts=counts, usage=usage, cost_usd=cost_usd, calls=cursor.calls)
