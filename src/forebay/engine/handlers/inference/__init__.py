"""Kind ``inference``: a step of a run that asks models of its records. ``handle_inference`` is its Handler."""

from forebay.engine.handlers.inference.dry import expect
from forebay.engine.handlers.inference.handler import handle_inference
from forebay.engine.handlers.inference.standing import standing

__all__ = ["expect", "handle_inference", "standing"]
