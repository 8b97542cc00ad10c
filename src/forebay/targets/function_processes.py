"""Processes that call a user's function: started on demand, ended in mid-call when nobody waits for it any more.

Not ProcessPoolExecutor: it can't end one call without breaking the pool for all, and a child that dies breaks it too.
Each process has two pipes and nothing else of its parent's; it leads a group of its own, which is killed as a whole.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

import msgspec

from forebay.domain.errors import TargetUnavailable
from forebay.domain.function import InferenceRequest
from forebay.targets.function_child import Load, decode_reply, read_frame, write_frame
from forebay.targets.function_reply import Kind, Reply
from forebay.threads import DaemonPool

START_SECONDS = 300.0  # for a process to start, and import the function: a model may be loaded
_CHILD = "forebay.targets.function_child"
_FLAGS = ("-u", "-P")  # what was printed is not lost; no file of the working directory goes before the library's
_STANDARD_ERROR = 2


class FunctionProcess:
    """One process. Its calls come one after the other, from whichever thread."""

    def __init__(self, function: str) -> None:
        """Raises: OSError: none can be started."""
        asked, self._requests = os.pipe()
        self._replies, told = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, and two numbers
                [sys.executable, *_FLAGS, "-m", _CHILD, str(asked), str(told)],
                stdin=subprocess.DEVNULL,
                stdout=_STANDARD_ERROR,  # ours may be somebody's data
                pass_fds=(asked, told),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._requests)
            os.close(self._replies)
            raise
        finally:
            os.close(asked)
            os.close(told)
        self._lock = threading.Lock()
        self._writer: BinaryIO = os.fdopen(self._requests, "wb")
        self._reader: BinaryIO = os.fdopen(self._replies, "rb")
        self._load = msgspec.msgpack.encode(Load(function=function, path=[os.path.abspath(one) for one in sys.path]))

    def load(self) -> Reply:
        """Has it import the function. Raises: EOFError, OSError: it died."""
        write_frame(self._writer, self._load)
        return decode_reply(read_frame(self._reader))

    def call(self, request: bytes, begun: Callable[[], None]) -> Reply:
        """Calls the function. ``begun``: called when it has. Raises: EOFError, OSError: the process died."""
        write_frame(self._writer, request)
        while (reply := decode_reply(read_frame(self._reader))).kind is Kind.BEGUN:
            begun()
        return reply

    def kill(self) -> None:
        """Ends it and all that it started, at once. May be called from any thread, while it is called or waited for."""
        with self._lock:
            if self._process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def bury(self) -> str:
        """Closes what is left of it; returns how it ended."""
        self.kill()
        for pipe in (self._writer, self._reader):
            with suppress(OSError):
                pipe.close()
        with self._lock:
            code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class ProcessCalls:
    """At most ``size`` processes for one function."""

    def __init__(self, function: str, size: int, name: str) -> None:
        self.size = size
        self._function = function
        self._pool = DaemonPool(size, f"target-{name}")
        self._lock = threading.Lock()
        self._idle: list[FunctionProcess] = []
        self._is_closed = False

    async def run(self, request: InferenceRequest, timeout_seconds: float) -> Reply:
        """Calls the function in a process. Its time begins with the call: a process that has to start, or one that is
        waited for, has START_SECONDS more.

        Raises: TimeoutError: it took longer, and its process was killed. TargetUnavailable: none can be started.
        Cancelling kills the process too.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_seconds + START_SECONDS) as limit:
            call = _Call(lambda: limit.reschedule(loop.time() + timeout_seconds))
            return await self._made(call, msgspec.json.encode(request))

    async def check(self) -> Reply:
        """Has a process import the function, and calls nothing. Raises: TimeoutError, TargetUnavailable."""
        async with asyncio.timeout(START_SECONDS):
            return await self._made(_Call(lambda: None), None)

    def close(self) -> None:
        """Ends idle processes; those at work end after their call, or when it is given up."""
        self._pool.close()
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for process in idle:
            process.bury()

    async def _made(self, call: "_Call", payload: bytes | None) -> Reply:
        try:
            reply = await self._pool.run(lambda: self._reply(call, payload))
        finally:
            call.stop()
        if isinstance(reply, TargetUnavailable):
            raise reply
        return reply

    def _reply(self, call: "_Call", payload: bytes | None) -> Reply | TargetUnavailable:
        """Calls in an idle process; where that has died meanwhile the call has not begun, and a new one takes it."""
        with self._lock:
            process = self._idle.pop() if self._idle and payload is not None else None
        if process is not None and (reply := self._called(call, process, payload)) is not None:
            return reply
        if call.is_stopped:
            return Reply(kind=Kind.FAILED, message="was given up")
        try:
            process = FunctionProcess(self._function)
        except OSError as exc:
            return TargetUnavailable(f"no process can be started: {exc.strerror}")
        loaded = self._loaded(call, process)
        if loaded.kind is not Kind.LOADED:
            return loaded
        if payload is None:
            self._rest(process)
            return loaded
        return self._called(call, process, payload) or Reply(kind=Kind.FAILED, message="ended its process")

    def _loaded(self, call: "_Call", process: FunctionProcess) -> Reply:
        call.hold(process)
        try:
            reply = process.load()
        except (EOFError, OSError):
            reply = Reply(kind=Kind.FAILED, message=f"ended its process when it was imported ({process.bury()})")
        call.let_go()
        if reply.kind is not Kind.LOADED:
            process.bury()
        return reply

    def _called(self, call: "_Call", process: FunctionProcess, payload: bytes | None) -> Reply | None:
        """None: the process died before it began."""
        call.hold(process)
        try:
            reply = process.call(payload or b"", call.note_begun)
        except (EOFError, OSError):
            call.let_go()
            ending = process.bury()
            return Reply(kind=Kind.FAILED, message=f"ended its process ({ending})") if call.has_begun else None
        if call.let_go():
            self._rest(process)
        else:
            process.bury()
        return reply

    def _rest(self, process: FunctionProcess) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(process)
                return
        process.bury()


class _Call:
    """One call under way, and the process that does it, which ``stop`` kills. ``begun`` is called in the loop."""

    def __init__(self, begun: Callable[[], None]) -> None:
        self.has_begun = False
        self.is_stopped = False
        self._begun = begun
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._process: FunctionProcess | None = None

    def note_begun(self) -> None:
        self.has_begun = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._tell)

    def hold(self, process: FunctionProcess) -> None:
        with self._lock:
            self._process = process
            if self.is_stopped:
                process.kill()

    def let_go(self) -> bool:
        """Returns whether the process was left alone."""
        with self._lock:
            self._process = None
            return not self.is_stopped

    def stop(self) -> None:
        with self._lock:
            self.is_stopped = True
            if self._process is not None:
                self._process.kill()

    def _tell(self) -> None:
        if not self.is_stopped:
            self._begun()
