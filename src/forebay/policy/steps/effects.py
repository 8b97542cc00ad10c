"""The options of steps that act outside of tables: ``notify``, ``publish``, ``call``."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.record import Record
from forebay.policy.nearest import hint


class Per(StrEnum):
    """Of what a step publishes an event."""

    RUN = "run"
    RECORD = "record"


class NotifyOptions(Record, frozen=True, kw_only=True):
    """``webhook``: an address, a template; ``data``: what is told beside the run's id, a template."""

    webhook: str
    data: Any = None


class PublishOptions(Record, frozen=True, kw_only=True):
    """An event: all three are templates."""

    source: str
    detail_type: str
    detail: Any
    per: Per = Per.RUN


class CallOptions(Record, frozen=True, kw_only=True):
    """Another pipeline's run. ``params``: templates."""

    pipeline: str
    params: dict[str, Any] = {}


def read_notify(options: Mapping[str, Any]) -> NotifyOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("webhook", "data"))
    return NotifyOptions(webhook=text(options, "webhook"), data=options.get("data"))


def read_publish(options: Mapping[str, Any]) -> PublishOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("source", "detail-type", "detail", "per"))
    per = options.get("per", Per.RUN.value)
    if per not in list(Per):
        raise RequestError(f"must be run or record, not {per!r}", param="per")
    detail = options.get("detail", {})
    if not isinstance(detail, Mapping | str):
        raise RequestError("must be a mapping, or a placeholder of one", param="detail")
    return PublishOptions(
        source=text(options, "source"), detail_type=text(options, "detail-type"), detail=detail, per=Per(per)
    )


def read_call(options: Mapping[str, Any]) -> CallOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("pipeline", "params"))
    params = options.get("params", {})
    if not isinstance(params, Mapping):
        raise RequestError("must be a mapping of parameters", param="params")
    return CallOptions(pipeline=text(options, "pipeline"), params=dict(params))


def only(options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuses options that are not known. Raises: RequestError."""
    for name in options:
        if name not in known:
            told = hint(str(name), known) or f"; known: {', '.join(known)}"
            raise RequestError(f"unknown option{told}", param=str(name), code="unknown_parameter")


def text(options: Mapping[str, Any], name: str) -> str:
    """An option that must be a text. Raises: RequestError."""
    value = options.get(name)
    if not isinstance(value, str) or not value or "\0" in value:
        raise RequestError("is missing" if value is None else "must be a text", param=name)
    return value
