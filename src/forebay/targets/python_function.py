"""Target of type ``python``: a function of the user's. Async ones run in this loop, sync ones in processes or threads.

A thread can't be ended: what overruns its time there goes on unseen. So sync functions have processes of their own
unless they are declared to run in a thread.
"""

import asyncio
import inspect
import os
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

import msgspec

from forebay.domain.errors import (
    ConfigurationError,
    RequestError,
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.function import MARK, InferenceRequest, RunIn, Spawn, TargetMark
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.spawning import Decomposition
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable
from forebay.policy.spawning import read_spawn
from forebay.policy.usage import NOTHING_METERED, read_metering
from forebay.ports import StreamSink
from forebay.targets.endpoint import metered_result
from forebay.targets.function_loading import FunctionMissing, find_module, load_function
from forebay.targets.function_processes import ProcessCalls
from forebay.targets.function_reply import Function, Kind, Reply, SpawnDocument, called, called_here
from forebay.targets.http import Response
from forebay.threads import DaemonPool

DEFAULT_THREADS = 32  # where the target declares no concurrency
LEAST_PROCESSES = 4  # likewise; as many as there are processors, if these are more
_FILE_TYPE = "application/octet-stream"


class Calls(Protocol):
    """Where a function is called. ``run`` raises TimeoutError, TargetUnavailable; cancelling gives the call up."""

    async def run(self, request: InferenceRequest, timeout_seconds: float) -> Reply: ...

    def close(self) -> None: ...


class PythonTarget:
    """Calls ``function``."""

    def __init__(self, spec: TargetSpec, table: PriceTable) -> None:
        """Raises: ConfigurationError: ``function`` is missing, or can't be imported."""
        self._spec = spec
        self._table = table
        self._mark = TargetMark()
        try:
            self._calls = self._calls_of(spec)
        except FunctionMissing as exc:
            raise ConfigurationError(f"targets.{spec.name}.function: {exc}") from exc

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:  # noqa: ARG002 - the port's signature
        return True

    @property
    def spec(self) -> TargetSpec:
        """The declaration, with what it leaves to the function: the modality that it is marked with, and how many
        calls there may be at once.
        """
        spec = self._spec
        if spec.modality == TargetMark().modality:
            spec = msgspec.structs.replace(spec, modality=self._mark.modality)
        if isinstance(self._calls, ProcessCalls) and spec.limits.concurrency is None:
            limits = msgspec.structs.replace(spec.limits, concurrency=self._calls.size)
            spec = msgspec.structs.replace(spec, limits=limits)
        return spec

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
            reply = await self._calls.run(request, call.timeout_seconds)
        except TimeoutError as exc:
            message = f"function {self._spec.function!r} did not return within {call.timeout_seconds:g} s"
            raise TargetTimeout(message) from exc
        except TargetUnavailable as exc:
            raise TargetUnavailable(f"function {self._spec.function!r}: {exc.message}") from exc
        return self._result(reply, call)

    async def check(self) -> str:
        """Calls nothing: what a function does with a made-up request nobody knows."""
        if isinstance(self._calls, ProcessCalls):
            try:
                reply = await self._calls.check()
            except TimeoutError as exc:
                raise TargetTimeout(f"function {self._spec.function!r} takes too long to be imported") from exc
            if reply.kind is not Kind.LOADED:
                raise self._told(reply)
        return f"{self.name}: {self._spec.function} is imported"

    async def close(self) -> None:
        await asyncio.to_thread(self._calls.close)

    def _body(self, call: Call) -> dict[str, Any]:
        try:
            return msgspec.json.decode(call.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise TargetRejected(f"function {self._spec.function!r} takes a JSON object: {exc}") from exc

    def _result(self, reply: Reply, call: Call) -> InferenceResult:
        metering, content_type = NOTHING_METERED, "application/json"
        match reply.kind:
            case Kind.SPLIT:
                return InferenceResult(status_code=200, body=b"{}", split=self._split(reply))
            case Kind.OBJECT:
                metering = read_metering(reply.body)
            case Kind.FILE:
                content_type = _FILE_TYPE
            case Kind.JSON:
                pass
            case _:
                raise self._told(reply)
        response = Response(status=200, headers={}, body=reply.body)
        result = metered_result(response, metering, call, self._spec, self._table)
        return msgspec.structs.replace(result, content_type=content_type)

    def _told(self, reply: Reply) -> TargetError:
        match reply.kind:
            case Kind.RETRY:
                return TargetThrottled(reply.message, retry_after=reply.after)
            case Kind.REJECT:
                return TargetRejected(reply.message)
        return TargetFailed(f"function {self._spec.function!r} {reply.message}")

    def _calls_of(self, spec: TargetSpec) -> Calls:
        """Raises: FunctionMissing."""
        name = spec.function or ""
        if spec.run_in is RunIn.PROCESS:
            find_module(name)  # imported where it is called alone: a model in its module is not loaded here too
            return _in_processes(spec)
        function = load_function(name)
        mark = getattr(function, MARK, None)
        self._mark = mark if isinstance(mark, TargetMark) else self._mark
        if _is_async(function):
            return AsyncCalls(function)
        if (spec.run_in or self._mark.run_in) is RunIn.THREAD or name.startswith("__main__:"):
            return ThreadCalls(function, spec)
        return _in_processes(spec)

    def _split(self, reply: Reply) -> Decomposition:
        try:
            asked = msgspec.json.decode(reply.body, type=SpawnDocument)
            spawn = Spawn(asked.children, join=asked.join, on_failure=asked.on_failure, deadline=asked.deadline)
            return read_spawn(spawn)
        except RequestError as exc:
            raise TargetRejected(f"function {self._spec.function!r}: {exc.message}") from exc


def _in_processes(spec: TargetSpec) -> ProcessCalls:
    size = spec.limits.concurrency or max(LEAST_PROCESSES, os.cpu_count() or 1)
    return ProcessCalls(spec.function or "", size, spec.name)


def _is_async(function: Function) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


class AsyncCalls:
    """In this loop."""

    def __init__(self, function: Function) -> None:
        self._function = function

    async def run(self, request: InferenceRequest, timeout_seconds: float) -> Reply:
        async with asyncio.timeout(timeout_seconds):
            return await called_here(self._function, request)

    def close(self) -> None:
        """Nothing."""


class ThreadCalls:
    """In a pool of threads. What overruns its time keeps its thread until it returns, and another takes its place."""

    def __init__(self, function: Function, spec: TargetSpec) -> None:
        self._function = function
        self._pool = DaemonPool(spec.limits.concurrency or DEFAULT_THREADS, f"target-{spec.name}")

    async def run(self, request: InferenceRequest, timeout_seconds: float) -> Reply:
        async with asyncio.timeout(timeout_seconds):
            return await self._pool.run(partial(copy_context().run, called, self._function, request))

    def close(self) -> None:
        self._pool.close()
