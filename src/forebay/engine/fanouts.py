"""Making fan-outs: of a request that names several targets, and of an event that a rule matched."""

import fnmatch
from collections.abc import Mapping
from typing import Any

import msgspec

from forebay.domain.errors import RequestError
from forebay.domain.fanout import BRANCH_KEY, FANOUT, MOST_BRANCHES, Branch, FanoutArgs, join_deadline
from forebay.domain.infer_args import Ceiling, InferArgs, infer_args, with_args
from forebay.domain.job import Job, Spec
from forebay.domain.order import Order
from forebay.domain.spawning import SPAWN_LIMIT
from forebay.domain.webhook import Subject
from forebay.engine.endpoints import notices_of
from forebay.engine.families import family_below, family_of, with_budget
from forebay.engine.groups import make_group
from forebay.engine.intake import make_job, store_text
from forebay.engine.services import Services
from forebay.policy.templates import compile_body

LEEWAY_SECONDS = 60.0  # after the join's deadline, for what follows it
SUMMING_SECONDS = 600.0  # likewise, where a target sums up
LEEWAY_SHARE = 0.1  # of the time until the join's deadline, at most, below another group


async def make_fanout(order: Order, services: Services, *, tenant: str = "default", within: float | None = None) -> Job:
    """Makes the group of an order with ``fanout``; its branches are made when it runs. Its body is the event, or what
    every branch is sent; its deadline is the join's. ``within``: when the group joins that it is a child of.

    Raises: RequestError, NotFound: no branch, too many, two of one name, or one that nobody serves.
    """
    args = _with_hops(order.fanout or FanoutArgs(branches=()), order.hops)
    _check(args, order.body, services)
    now = services.clock.now()
    start = order.not_before or now
    until = order.deadline or start + services.bounds.default_deadline_seconds
    leeway = LEEWAY_SECONDS if args.aggregation.branch is None else SUMMING_SECONDS
    if within is not None:
        until = min(until, join_by(now, within))
    if order.parent_id:  # which has little time itself, maybe
        leeway = min(leeway, max(until - start, 0.0) * LEEWAY_SHARE)
    above = infer_args(order.args)
    notices = await notices_of(order, Subject.JOB, services, tenant)
    return msgspec.structs.replace(
        make_group(FANOUT, order, services, tenant=tenant, deadline=until + leeway),
        parent_id=order.parent_id,
        awaited=order.awaited,
        not_before=order.not_before,
        due_at=start,
        spec=Spec(
            model=order.model,
            endpoint=order.endpoint,
            budget_usd=order.budget_usd,
            metadata=order.metadata,
            args=with_args(
                msgspec.json.encode(msgspec.structs.replace(args, leeway_seconds=leeway)).decode(),
                InferArgs(family=above.family, budgets=above.budgets),
            ),
        ),
        body=await store_text(order.body, services.blobs),
        on_end=notices,
    )


def join_by(now: float, deadline: float) -> float:
    """When a fan-out below a group must join, so that what it has by the group's deadline is not lost."""
    return now + (deadline - now) / (1 + LEEWAY_SHARE)


def _check(args: FanoutArgs, text: str, services: Services) -> None:
    names = [branch.name for branch in args.branches]
    if not names or len(names) > MOST_BRANCHES:
        raise RequestError(f"A fan-out has 1 to {MOST_BRANCHES} targets, not {len(names)}", param="targets")
    if len(set(names)) < len(names):
        raise RequestError("Two targets of a fan-out have one name", param="targets")
    if args.successes is not None and not 1 <= args.successes <= len(names):
        message = f"join: {args.successes} successes can't come of {len(names)} targets"
        raise RequestError(message, param="join")
    for branch in args.branches:
        if branch.body is None:
            model = branch.model or _own_model(branch, text, services)
            services.resolver.resolve(target=branch.target, model=model, endpoint=branch.endpoint)


async def make_branch(parent: Job, branch: Branch, scope: Mapping[str, Any], text: str, services: Services) -> Job:
    """Makes the job of one branch. ``scope``: what its template sees; ``text``: the fan-out's own body.

    Raises: RequestError: a field that the template names is missing, or nobody serves what it asks for.
    """
    now = services.clock.now()
    _check_depth(parent, branch, services)
    body, model = text, branch.model
    if branch.body is not None:
        body = msgspec.json.encode(compile_body(branch.body).render(scope)).decode()
    elif model is None and branch.fanout is None:
        model = _own_model(branch, text, services)
    start = branch.not_before or now + (branch.not_before_seconds or 0.0)
    order = Order(
        body=body,
        target=branch.target,
        model=model,
        endpoint=branch.endpoint,
        priority=parent.priority if branch.priority is None else branch.priority,
        not_before=start if start > now else None,
        deadline=branch.deadline if branch.deadline_seconds is None else start + branch.deadline_seconds,
        timeout_seconds=branch.timeout_seconds,
        max_attempts=branch.max_attempts,
        on_unknown=branch.on_unknown,
        budget_usd=branch.budget_usd if parent.spec.budget_usd is None else parent.spec.budget_usd,
        args=_args_below(parent, branch),
        metadata=branch.metadata,
        key=BRANCH_KEY + branch.name,
        parent_id=parent.id,
        is_stream=False,
        hops=branch.hops,
        fanout=branch.fanout,
    )
    if branch.fanout is None:
        return with_budget(await make_job(order, services, tenant=parent.tenant))
    return with_budget(await make_fanout(order, services, tenant=parent.tenant, within=join_deadline(parent)))


def _args_below(parent: Job, branch: Branch) -> str | None:
    """What a branch's job carries of its group: the budgets, and its place in the tree, where there is one."""
    above = infer_args(parent.spec.args)
    budgets, has_budget = above.budgets, branch.budget_usd is not None
    if has_budget and parent.spec.budget_usd is not None:  # it spends from both
        budgets, has_budget = (*budgets, Ceiling(name=f"child:{parent.id}:{branch.name}", usd=branch.budget_usd)), False
    if above.family is None and branch.fanout is None and not has_budget:
        return with_args(None, InferArgs(budgets=budgets))
    return with_args(None, InferArgs(family=family_below(parent, has_budget=has_budget), budgets=budgets))


def _check_depth(parent: Job, branch: Branch, services: Services) -> None:
    """Raises: RequestError (`spawn_limit`): the branch is a fan-out, further down than one may be."""
    depth = family_of(parent).depth + 1
    if branch.fanout is not None and depth >= services.bounds.max_spawn_depth:
        message = f"A fan-out {depth} levels down is deeper than may be (setting `max_spawn_depth`)"
        raise RequestError(message, param="targets", code=SPAWN_LIMIT)


def _with_hops(args: FanoutArgs, hops: int) -> FanoutArgs:
    """Every branch carries on how many events led to it, so that its target can tell."""
    if not hops:
        return args
    replace = msgspec.structs.replace
    branches = tuple(replace(branch, hops=hops) for branch in args.branches)
    summing = args.aggregation.branch
    aggregation = args.aggregation if summing is None else replace(args.aggregation, branch=replace(summing, hops=hops))
    return replace(args, branches=branches, aggregation=aggregation)


def _own_model(branch: Branch, text: str, services: Services) -> str | None:
    """The target's own model where the body that all share names one that it doesn't have."""
    spec = services.specs.get(branch.target or "")
    if spec is None or not spec.exact_models:
        return None
    try:
        asked = msgspec.json.decode(text, type=_Named).model
    except msgspec.DecodeError:
        return None
    is_its = asked is not None and any(fnmatch.fnmatchcase(asked, pattern) for pattern in spec.models)
    return None if is_its else spec.exact_models[0]


class _Named(msgspec.Struct):
    model: str | None = None
