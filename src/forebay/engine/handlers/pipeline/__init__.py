"""Kind ``pipeline``: a run, whose steps are its children, each begun as soon as what it needs is there."""

from forebay.engine.handlers.pipeline.handler import handle_pipeline

__all__ = ["handle_pipeline"]
