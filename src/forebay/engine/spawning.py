"""Making the children of a task that was split, within what the settings allow."""

from collections.abc import Sequence

from msgspec.structs import replace

from forebay.domain.errors import RequestError
from forebay.domain.fanout import BRANCH_KEY
from forebay.domain.infer_args import Ceiling, InferArgs, infer_args, with_args
from forebay.domain.job import Job, JobError
from forebay.domain.spawning import SPAWN_LIMIT, SPAWN_NAME_TAKEN, Decomposition, Part
from forebay.engine.families import family_below, family_of, with_budget
from forebay.engine.fanouts import make_fanout
from forebay.engine.intake import check_order, make_job
from forebay.engine.services import Services

SPAWNED = "spawned:"  # begins the name of the sum of all jobs below one that split its task first


async def refusal_of(job: Job, split: Decomposition, earlier: Sequence[str], services: Services) -> JobError | None:
    """Why a job may not split its task so; None: it may, and its children are counted."""
    bounds, family = services.bounds, family_of(job)
    names = [part.name for part in split.parts]
    if again := sorted(set(names) & set(earlier)):
        message = f"A child {again[0]!r} was spawned in an earlier round: give it a `name` of its own"
        return JobError(code=SPAWN_NAME_TAKEN, message=message)
    if family.depth >= bounds.max_spawn_depth:
        return _beyond(f"it is {family.depth} levels deep already (setting `max_spawn_depth`)")
    if family.depth + 1 >= bounds.max_spawn_depth and any(part.order.fanout for part in split.parts):
        return _beyond(f"a child with `targets` is a level of its own, the {family.depth + 2}. (`max_spawn_depth`)")
    if len(names) + len(earlier) > bounds.max_spawn_children:
        total = len(names) + len(earlier)
        return _beyond(f"{total} children, where {bounds.max_spawn_children} may be (setting `max_spawn_children`)")
    count = sum(1 + len(part.order.fanout.branches) if part.order.fanout else 1 for part in split.parts)
    if not await services.limits.charge(SPAWNED + family.root, count, bounds.max_spawned_jobs):
        return _beyond(f"more than {bounds.max_spawned_jobs} jobs below {family.root} (setting `max_spawned_jobs`)")
    return None


async def make_parts(job: Job, split: Decomposition, services: Services) -> tuple[tuple[Job, ...], dict[str, JobError]]:
    """The children's jobs, and, by name, why others could not be made."""
    children: list[Job] = []
    refused: dict[str, JobError] = {}
    for part in split.parts:
        try:
            children.append(await _make_part(job, part, split, services))
        except RequestError as error:  # one child's fault is its own
            refused[part.name] = JobError(code=error.code, message=error.message)
    return tuple(children), refused


async def _make_part(job: Job, part: Part, split: Decomposition, services: Services) -> Job:
    check_order(part.order, services.bounds)
    now, above = services.clock.now(), infer_args(job.spec.args)
    budget = services.bounds.spawn_budget_usd if job.spec.budget_usd is None else job.spec.budget_usd
    has_budget = budget is None and part.order.budget_usd is not None  # what is below this child spends from it
    budgets = above.budgets
    if budget is not None and part.order.budget_usd is not None:  # from both
        budgets = (*budgets, Ceiling(name=f"child:{job.id}:{part.name}", usd=part.order.budget_usd))
    not_before = part.order.not_before if part.not_before_seconds is None else now + part.not_before_seconds
    deadline = part.order.deadline
    if part.deadline_seconds is not None:
        deadline = (not_before or now) + part.deadline_seconds
    order = replace(
        part.order,
        key=BRANCH_KEY + part.name,
        parent_id=job.id,
        priority=part.order.priority or job.priority,
        awaited=job.awaited,
        not_before=not_before,
        deadline=deadline,
        budget_usd=part.order.budget_usd if has_budget else budget,
        args=with_args(None, InferArgs(family=family_below(job, has_budget=has_budget), budgets=budgets)),
        hops=above.hops,
    )
    if order.fanout is None:
        return with_budget(await make_job(order, services, tenant=job.tenant))
    within = job.deadline if split.deadline_seconds is None else now + split.deadline_seconds
    return with_budget(await make_fanout(order, services, tenant=job.tenant, within=min(within, job.deadline)))


def _beyond(why: str) -> JobError:
    return JobError(code=SPAWN_LIMIT, message=f"The function split its task further than it may: {why}")
