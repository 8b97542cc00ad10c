"""Families: where a job stands in a tree of fan-outs and split tasks, and from which budget it spends."""

from msgspec.structs import replace

from forebay.domain.fanout import FANOUT
from forebay.domain.infer_args import Family, InferArgs, infer_args, with_args
from forebay.domain.job import Job


def family_of(job: Job) -> Family:
    """The job's place in its tree; one that has none yet begins its own."""
    known = infer_args(job.spec.args).family
    budget = job.id if job.kind == FANOUT else job.parent_id or job.id
    return known or Family(root=job.id, depth=0, budget=f"job:{budget}")


def family_below(job: Job, *, has_budget: bool = False) -> Family:
    """The place of a job's child. ``has_budget``: a sum of its own, where none above it has one: its name is not known
    before the child is.
    """
    family = family_of(job)
    return replace(family, depth=family.depth + 1, budget="" if has_budget else family.budget)


def with_budget(child: Job) -> Job:
    """The child, whose budget is its own if its family knows of none."""
    family = infer_args(child.spec.args).family
    if family is None or family.budget:
        return child
    own = with_args(child.spec.args, InferArgs(family=replace(family, budget=f"job:{child.id}")))
    return replace(child, spec=replace(child.spec, args=own))
