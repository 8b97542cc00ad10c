"""Forebay: the reservoir in front of generative models. Names load on first use: importing it costs nothing."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.client import AsyncClient as AsyncClient
    from forebay.client import Client as Client
    from forebay.domain.errors import ConfigurationError as ConfigurationError
    from forebay.domain.errors import ForebayError as ForebayError
    from forebay.domain.errors import Interrupted as Interrupted
    from forebay.domain.errors import InvalidPattern as InvalidPattern
    from forebay.domain.errors import JobFailed as JobFailed
    from forebay.domain.errors import NotFound as NotFound
    from forebay.domain.errors import RequestError as RequestError
    from forebay.domain.function import InferenceRequest as InferenceRequest
    from forebay.domain.function import Reject as Reject
    from forebay.domain.function import Retry as Retry
    from forebay.domain.function import Spawn as Spawn
    from forebay.domain.function import target as target
    from forebay.domain.step_function import StepTable as StepTable
    from forebay.domain.step_function import step as step
    from forebay.policy.matching import EventPattern as EventPattern
    from forebay.policy.matching import FilterPolicy as FilterPolicy
    from forebay.runs import run as run

_PUBLIC = {
    "AsyncClient": "forebay.client",
    "Client": "forebay.client",
    "ConfigurationError": "forebay.domain.errors",
    "EventPattern": "forebay.policy.matching",
    "FilterPolicy": "forebay.policy.matching",
    "ForebayError": "forebay.domain.errors",
    "InferenceRequest": "forebay.domain.function",
    "Interrupted": "forebay.domain.errors",
    "InvalidPattern": "forebay.domain.errors",
    "JobFailed": "forebay.domain.errors",
    "NotFound": "forebay.domain.errors",
    "Reject": "forebay.domain.function",
    "RequestError": "forebay.domain.errors",
    "Retry": "forebay.domain.function",
    "Spawn": "forebay.domain.function",
    "StepTable": "forebay.domain.step_function",
    "run": "forebay.runs",
    "step": "forebay.domain.step_function",
    "target": "forebay.domain.function",
}
__version__ = "0.1.0"
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'forebay' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
