"""Making the children of a task that was split, within what the settings allow."""

from collections.abc import Sequence

from msgspec.structs import replace

from forebay.domain.errors import RequestError
from forebay.domain.fanout import BRANCH_KEY
from forebay.domain.infer_args import Family, InferArgs, infer_args, with_args
from forebay.domain.job import Job, JobError
from forebay.domain.spawning import SPAWN_LIMIT, SPAWN_NAME_TAKEN, Decomposition, Part
from forebay.engine.intake import check_order, make_job
from forebay.engine.services import Services

SPAWNED = "spawned:"  # begins the name of the sum of all jobs below one that split its task first


def family_of(job: Job) -> Family:
    """The job's place in its tree; one that has none yet begins its own."""
    known = infer_args(job.spec.args).family
    return known or Family(root=job.id, depth=0, budget=f"job:{job.parent_id or job.id}")


async def refusal_of(job: Job, split: Decomposition, earlier: Sequence[str], services: Services) -> JobError | None:
    """Why a job may not split its task so; None: it may, and its children are counted."""
    bounds, family = services.bounds, family_of(job)
    names = [part.name for part in split.parts]
    if again := sorted(set(names) & set(earlier)):
        message = f"A child {again[0]!r} was spawned in an earlier round: give it a `name` of its own"
        return JobError(code=SPAWN_NAME_TAKEN, message=message)
    if family.depth >= bounds.max_spawn_depth:
        return _beyond(f"it is {family.depth} levels deep already (setting `max_spawn_depth`)")
    if len(names) + len(earlier) > bounds.max_spawn_children:
        total = len(names) + len(earlier)
        return _beyond(f"{total} children, where {bounds.max_spawn_children} may be (setting `max_spawn_children`)")
    if not await services.limits.charge(SPAWNED + family.root, len(names), bounds.max_spawned_jobs):
        return _beyond(f"more than {bounds.max_spawned_jobs} jobs below {family.root} (setting `max_spawned_jobs`)")
    return None


async def make_parts(job: Job, split: Decomposition, services: Services) -> tuple[tuple[Job, ...], dict[str, JobError]]:
    """The children's jobs, and, by name, why others could not be made."""
    children: list[Job] = []
    refused: dict[str, JobError] = {}
    for part in split.parts:
        try:
            children.append(await _make_part(job, part, services))
        except RequestError as error:  # one child's fault is its own
            refused[part.name] = JobError(code=error.code, message=error.message)
    return tuple(children), refused


async def _make_part(job: Job, part: Part, services: Services) -> Job:
    check_order(part.order, services.bounds)
    family, budget = family_of(job), job.spec.budget_usd
    if budget is None:
        budget = services.bounds.spawn_budget_usd
    if budget is None and part.order.budget_usd is not None:  # what is below this child spends from it
        budget, family = part.order.budget_usd, replace(family, budget="")
    elif part.order.budget_usd is not None:
        message = "The whole task has a budget: a child has none of its own beside it"
        raise RequestError(message, param="budget_usd", code="not_supported")
    above = infer_args(job.spec.args)
    deadline = part.order.deadline
    if part.deadline_seconds is not None:
        deadline = services.clock.now() + part.deadline_seconds
    order = replace(
        part.order,
        key=BRANCH_KEY + part.name,
        parent_id=job.id,
        priority=part.order.priority or job.priority,
        awaited=job.awaited,
        deadline=deadline,
        budget_usd=budget,
        args=with_args(None, InferArgs(family=replace(family, depth=family.depth + 1), budgets=above.budgets)),
        hops=above.hops,
    )
    child = await make_job(order, services, tenant=job.tenant)
    if family.budget:
        return child
    own = replace(family, depth=family.depth + 1, budget=f"job:{child.id}")
    return replace(child, spec=replace(child.spec, args=with_args(child.spec.args, InferArgs(family=own))))


def _beyond(why: str) -> JobError:
    return JobError(code=SPAWN_LIMIT, message=f"The function split its task further than it may: {why}")
