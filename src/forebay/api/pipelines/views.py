"""What is told of pipelines: their definitions and their pages of runs."""

from typing import Any

import msgspec

from forebay.api.paging import Page
from forebay.domain.pipeline import Pipeline, StepKind
from forebay.engine.run_views import RunView
from forebay.policy.pipelines import mermaid


class StepDefinition(msgspec.Struct, kw_only=True):
    """A step as it is configured, without its options: they may name what is secret."""

    name: str
    kind: StepKind
    inputs: tuple[str, ...]
    needs: tuple[str, ...]


class TriggerDefinition(msgspec.Struct, kw_only=True):
    """What begins runs."""

    name: str
    type: str


class PipelineView(msgspec.Struct, kw_only=True):
    """A pipeline as it is configured. ``graph``: a picture of its steps, in Mermaid."""

    name: str
    object: str = "pipeline"
    description: str | None
    on: list[TriggerDefinition]
    overlap: str
    catch_up: str
    budget_usd: float | None
    budget_tokens: int | None
    params: dict[str, Any]
    steps: list[StepDefinition]
    graph: str


class PipelineList(msgspec.Struct, kw_only=True):
    """All pipelines, by name."""

    object: str = "list"
    data: list[PipelineView]
    has_more: bool = False


class RunList(Page[RunView], kw_only=True):
    """A page of runs, newest first."""


def pipeline_view(pipeline: Pipeline) -> PipelineView:
    """The definition as it is told."""
    return PipelineView(
        name=pipeline.name,
        description=pipeline.description,
        on=[TriggerDefinition(name=one.name, type=one.type) for one in pipeline.triggers],
        overlap=pipeline.overlap,
        catch_up=pipeline.catch_up,
        budget_usd=pipeline.budget_usd,
        budget_tokens=pipeline.budget_tokens,
        params=pipeline.params,
        steps=[
            StepDefinition(name=step.name, kind=step.kind, inputs=step.inputs, needs=step.needs)
            for step in pipeline.steps
        ],
        graph=mermaid(pipeline),
    )
