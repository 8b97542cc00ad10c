"""The job of one step."""

import msgspec

from forebay.domain.job import Job, Spec
from forebay.domain.lane import CONTROL, STEPS
from forebay.domain.pipeline import INFERENCE, INFERENCE_KINDS, STEP, StepKind, StepWork
from forebay.engine.runs import PIPELINE_MARK
from forebay.engine.services import Services

STEP_KEY = "step:"  # begins the key of a step's job


def make_step(run: Job, work: StepWork, services: Services) -> Job:
    """Makes the job of a step of a run. Those that only wait for others have no slot among those that compute."""
    step, now = work.step, services.clock.now()
    waits = step.kind in INFERENCE_KINDS or step.kind in {StepKind.CALL, StepKind.NOTIFY, StepKind.PUBLISH}
    return Job(
        id=services.ids.new("job"),
        kind=INFERENCE if step.kind in INFERENCE_KINDS else STEP,
        queue=CONTROL if waits else STEPS,
        tenant=run.tenant,
        parent_id=run.id,
        key=STEP_KEY + step.name,
        is_group=True,
        priority=run.priority,
        weight=run.weight,
        created_at=now,
        due_at=now,
        deadline=run.deadline,
        spec=Spec(
            timeout_seconds=step.timeout_seconds,
            max_attempts=step.retries + 1,
            budget_usd=run.spec.budget_usd,
            metadata={PIPELINE_MARK: work.pipeline, "step": step.name},
            args=msgspec.json.encode(work).decode(),
        ),
    )
