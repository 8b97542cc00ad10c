"""What came of one call of a user's function, as data: the same from this loop, a thread, or another process."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from forebay.domain.function import InferenceRequest, Reject, Retry, Spawn
from forebay.domain.hops import HOPS

REASON_CHARACTERS = 300

Function = Callable[[InferenceRequest], Any]


class Kind(StrEnum):
    """What a reply is."""

    LOADED = "loaded"  # of a process: the function is imported
    BEGUN = "begun"  # of a process: the function is being called
    OBJECT = "object"  # JSON, which may tell its usage
    JSON = "json"
    FILE = "file"
    SPLIT = "split"  # a ``forebay.Spawn``
    RETRY = "retry"
    REJECT = "reject"
    FAILED = "failed"


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``body``: what was returned, as JSON, or the bytes of a file. ``message``: why there is nothing."""

    kind: Kind
    message: str = ""
    after: float | None = None
    body: bytes = b""


class SpawnDocument(msgspec.Struct, kw_only=True):
    """A ``forebay.Spawn`` on its way."""

    children: list[Any]
    join: Any = "all"
    on_failure: Any = "partial"
    deadline: Any = None


def called(function: Function, request: InferenceRequest) -> Reply:
    """Calls the function, and runs what it returns if that is to be awaited. For threads and processes."""
    token = HOPS.set(request.hops)
    try:
        returned = function(request)
        if inspect.isawaitable(returned):
            returned = asyncio.run(_awaited(returned))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a user's function may raise anything: a failed attempt
        return raised(exc)
    finally:
        HOPS.reset(token)
    return replied(returned)


async def called_here(function: Function, request: InferenceRequest) -> Reply:
    """Calls an async function in this loop."""
    token = HOPS.set(request.hops)
    try:
        returned = function(request)
        if inspect.isawaitable(returned):
            returned = await returned
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - likewise
        return raised(exc)
    finally:
        HOPS.reset(token)
    return replied(returned)


def replied(returned: Any) -> Reply:
    """The reply to what a function returned."""
    match returned:
        case Spawn():
            return _split(returned)
        case bytes() | bytearray():
            return Reply(kind=Kind.FILE, body=bytes(returned))
        case dict():
            return _encoded(returned, Kind.OBJECT)
        case list() | str():
            return _encoded(returned, Kind.JSON)
    name = type(returned).__name__
    return Reply(kind=Kind.FAILED, message=f"returned {name}, not a dict, list, str or bytes")


def raised(error: BaseException) -> Reply:
    """The reply to what a function raised."""
    match error:
        case Retry():
            return Reply(kind=Kind.RETRY, message=error.message, after=error.after)
        case Reject():
            return Reply(kind=Kind.REJECT, message=error.message)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - even its text is the user's
        text = ""
    return Reply(kind=Kind.FAILED, message=f"raised {type(error).__name__}: {text}"[:REASON_CHARACTERS])


def _encoded(returned: Any, kind: Kind) -> Reply:
    try:
        return Reply(kind=kind, body=msgspec.json.encode(returned))
    except (TypeError, ValueError, RecursionError) as exc:
        return Reply(kind=Kind.FAILED, message=f"returned what is no JSON: {exc}")


def _split(spawn: Spawn) -> Reply:
    try:
        children = [dict(child) if isinstance(child, Mapping) else child for child in spawn.children]
        document = SpawnDocument(
            children=children, join=spawn.join, on_failure=spawn.on_failure, deadline=spawn.deadline
        )
        return Reply(kind=Kind.SPLIT, body=msgspec.json.encode(document))
    except (TypeError, ValueError, RecursionError) as exc:
        return Reply(kind=Kind.REJECT, message=f"Spawn: its children are no JSON: {exc}"[:REASON_CHARACTERS])


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
