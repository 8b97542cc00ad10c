"""Pipelines, read and put in order. Pure: what parses SQL is handed in."""

from forebay.policy.pipelines.graph import ordered
from forebay.policy.pipelines.mermaid import mermaid
from forebay.policy.pipelines.reading import PipelineProblem, read_pipeline

__all__ = ["PipelineProblem", "mermaid", "ordered", "read_pipeline"]
