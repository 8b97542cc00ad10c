"""Target of type ``python``: a function of the user's, called in this process. Sync ones run in a pool of threads."""

import asyncio
import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import msgspec

from forebay.domain.errors import (
    ConfigurationError,
    RequestError,
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
)
from forebay.domain.function import InferenceRequest, Reject, Retry, Spawn
from forebay.domain.hops import HOPS
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.spawning import Decomposition
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable
from forebay.policy.spawning import read_spawn
from forebay.policy.usage import NOTHING_METERED, read_metering
from forebay.ports import StreamSink
from forebay.targets.endpoint import metered_result
from forebay.targets.http import Response
from forebay.threads import DaemonPool

DEFAULT_THREADS = 32  # where the target declares no concurrency
REASON_CHARACTERS = 300
_FILE_TYPE = "application/octet-stream"

Function = Callable[[InferenceRequest], Any]


class PythonTarget:
    """Calls ``function``. A sync function that overruns its time keeps its thread until it returns."""

    def __init__(self, spec: TargetSpec, table: PriceTable) -> None:
        """Raises: ConfigurationError: ``function`` is missing, or can't be imported."""
        self._spec = spec
        self._table = table
        self._function = load_function(spec)
        self._is_async = inspect.iscoroutinefunction(self._function) or inspect.iscoroutinefunction(
            getattr(self._function, "__call__", None)  # noqa: B004 - an object with an async __call__
        )
        threads = spec.limits.concurrency or DEFAULT_THREADS
        self._pool = DaemonPool(threads, f"target-{spec.name}")

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:  # noqa: ARG002 - the port's signature
        return True

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:  # noqa: ARG002 - it has none
        request = InferenceRequest(
            job_id=call.job_id,
            attempt=call.attempt,
            endpoint=call.endpoint,
            body=self._body(call),
            metadata=call.metadata,
            hops=call.hops,
            children=call.children,
        )
        try:
            async with asyncio.timeout(call.timeout_seconds):
                returned = await self._run(request)
        except TimeoutError as exc:
            message = f"function {self._spec.function!r} did not return within {call.timeout_seconds:g} s"
            raise TargetTimeout(message) from exc
        return self._result(returned, call)

    def _body(self, call: Call) -> dict[str, Any]:
        try:
            return msgspec.json.decode(call.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise TargetRejected(f"function {self._spec.function!r} takes a JSON object: {exc}") from exc

    async def check(self) -> str:
        """Calls nothing: what a function does with a made-up request nobody knows."""
        return f"{self.name}: {self._spec.function} is imported"

    async def close(self) -> None:
        self._pool.close()

    async def _run(self, request: InferenceRequest) -> Any:
        token = HOPS.set(request.hops)
        try:
            if self._is_async:
                outcome = await _outcome_of(self._function(request))
            else:
                call = partial(copy_context().run, _outcome_in_thread, self._function, request)
                outcome = await self._pool.run(call)
                if inspect.isawaitable(outcome.returned):
                    outcome = await _outcome_of(outcome.returned)
        finally:
            HOPS.reset(token)
        if outcome.raised is not None:
            raise self._told(outcome.raised) from outcome.raised
        return outcome.returned

    def _told(self, raised: BaseException) -> TargetError:
        match raised:
            case Retry():
                return TargetThrottled(raised.message, retry_after=raised.after)
            case Reject():
                return TargetRejected(raised.message)
        reason = f"{type(raised).__name__}: {raised}"[:REASON_CHARACTERS]
        return TargetFailed(f"function {self._spec.function!r} raised {reason}")

    def _result(self, returned: Any, call: Call) -> InferenceResult:
        metering, content_type = NOTHING_METERED, "application/json"
        match returned:
            case Spawn():
                return InferenceResult(status_code=200, body=b"{}", split=self._split(returned))
            case bytes() | bytearray():
                body, content_type = bytes(returned), _FILE_TYPE
            case dict() | list() | str():
                body = self._encoded(returned)
                metering = read_metering(body) if isinstance(returned, dict) else metering
            case _:
                kind = type(returned).__name__
                message = f"function {self._spec.function!r} returned {kind}, not a dict, list, str or bytes"
                raise TargetFailed(message)
        response = Response(status=200, headers={}, body=body)
        result = metered_result(response, metering, call, self._spec, self._table)
        return msgspec.structs.replace(result, content_type=content_type)

    def _split(self, returned: Spawn) -> Decomposition:
        try:
            return read_spawn(returned)
        except RequestError as exc:
            raise TargetRejected(f"function {self._spec.function!r}: {exc.message}") from exc

    def _encoded(self, returned: Any) -> bytes:
        try:
            return msgspec.json.encode(returned)
        except (TypeError, ValueError, RecursionError) as exc:
            raise TargetFailed(f"function {self._spec.function!r} returned what is no JSON: {exc}") from exc


def load_function(spec: TargetSpec) -> Function:
    """Imports ``module:name``; modules in the working directory are found. Raises: ConfigurationError."""
    place = f"targets.{spec.name}.function"
    module_name, _, path = (spec.function or "").partition(":")
    if not module_name or not path:
        raise ConfigurationError(f"{place}: {spec.function!r} is not of the form 'module:name'")
    if os.getcwd() not in sys.path:  # an installed command does not have it, other than `python -m`
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = import_module(module_name)
        for name in path.split("."):
            found = getattr(found, name)
    except AttributeError as exc:
        raise ConfigurationError(f"{place}: module {module_name!r} has no {path!r}") from exc
    except Exception as exc:
        raise ConfigurationError(f"{place}: {module_name!r} can't be imported: {type(exc).__name__}: {exc}") from exc
    if not callable(found):
        raise ConfigurationError(f"{place}: {spec.function!r} is not a function")
    function: Function = found
    return function


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a function returned or raised, as data: a thread must not raise StopIteration or SystemExit into a loop."""

    returned: Any = None
    raised: BaseException | None = None


def _outcome_in_thread(function: Function, request: InferenceRequest) -> _Outcome:
    try:
        return _Outcome(returned=function(request))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a user's function may raise anything: a failed attempt
        return _Outcome(raised=exc)


async def _outcome_of(awaitable: Awaitable[Any]) -> _Outcome:
    try:
        return _Outcome(returned=await awaitable)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - likewise
        return _Outcome(raised=exc)
