"""What a run left outside of its jobs, which goes with it: what its steps are remembered by, and answers paid for."""

from forebay.domain.asking import PAID
from forebay.domain.job import Job
from forebay.domain.pipeline import INFERENCE_KINDS, MEMORY, PIPELINE, RUN_BUDGET, run_args, run_id, step_memory
from forebay.engine.services import Services


async def forget_run(job: Job, services: Services) -> list[str]:
    """Forgets what has a run's words. Returns the blobs that were referred to. Nobody can tell whose answers stand
    among those that a step has paid for: all of them go.
    """
    if job.kind != PIPELINE or job.spec.args is None:
        return []
    blobs: list[str] = []
    args = run_args(job.spec.args)
    for step in args.pipeline.steps:
        name = f"{args.pipeline.name}/{step.name}"
        memory = await services.records.get(job.tenant, MEMORY, name)
        if memory is not None and step_memory(memory.data).run_id == run_id(job.id):
            await services.records.delete(job.tenant, MEMORY, name)
            blobs += memory.blobs
        if step.kind in INFERENCE_KINDS and (paid := await services.records.get(job.tenant, PAID, name)) is not None:
            await services.records.delete(job.tenant, PAID, name)
            blobs += paid.blobs
    await services.records.delete(job.tenant, RUN_BUDGET, job.id)
    return blobs
