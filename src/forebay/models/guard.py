"""A model server that stays up: started, asked for its health, started again when it dies or hangs, ended with us."""

import asyncio
import contextlib
import errno
import os
import random
import secrets
import socket
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from forebay.domain.errors import ConfigurationError, TargetUnavailable
from forebay.models.engines import require_engine
from forebay.models.health import is_healthy
from forebay.models.records import CatalogueModel
from forebay.models.settings import ServerSettings

HOST = "127.0.0.1"
KEPT_LINES = 20  # of what the server said last, for the message when it does not start
MOST_THREADS = 16
# Waiting threads sleep instead of spinning, because Forebay works on the same cores: on two cores at a load of 7,
# spinning fell from 71 to 4 tokens a second in one of three runs, sleeping held 46 to 65 (SmolLM2, one stream).
QUIET_THREADS = {"OMP_WAIT_POLICY": "passive"}
# A model server fetches nothing: what it needs was pulled, or installed with its extra.
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the guard waits for what, in seconds."""

    start: float = 180.0  # to load the model from a cold disk on a busy machine
    check_every: float = 2.0
    check_timeout: float = 5.0
    hung: float = 45.0  # without one answered health check
    end: float = 5.0  # from closing its pipe to killing it
    first_restart: float = 0.5
    last_restart: float = 30.0  # restarts back off up to this
    stable: float = 60.0  # up so long: the back-off begins anew


class GuardedServer:
    """One model's server. ``await start()``, then it answers at ``base_url`` to ``api_key`` until ``close()``."""

    def __init__(
        self,
        model: CatalogueModel,
        path: Path | str,
        *,
        port: int = 0,
        api_key: str | None = None,
        patience: Patience | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.api_key = api_key or f"local-{secrets.token_urlsafe(24)}"
        self.restarts = 0
        self._path = path
        self._patience = patience or Patience()
        self._command = tuple(command)
        self._place = _reserve(port)
        self._process: asyncio.subprocess.Process | None = None
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        return int(self._place.getsockname()[1])

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    @property
    def pid(self) -> int | None:
        """The server's process, if there is one just now."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Returns when the model is loaded and answers.

        Raises: ConfigurationError: the engine isn't installed. TargetUnavailable: the server does not come up. Nothing
        is left running then.
        """
        try:
            process = await self._launch()
            if not await self._is_up_in_time(process):
                raise TargetUnavailable(self._no_start(process))
        except BaseException:
            await self.close()
            raise
        self._tasks.append(asyncio.create_task(self._guard(process)))

    async def close(self) -> None:
        """Ends the server and gives its port back. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._process is not None:
            await self._end(self._process)
        self._place.close()

    async def _guard(self, process: asyncio.subprocess.Process) -> None:
        clock = asyncio.get_running_loop().time
        delay = self._patience.first_restart
        is_known_good = True
        while True:
            began = clock()
            reason = await self._watch(process, is_known_good)
            await self._end(process)
            if clock() - began > self._patience.stable:
                delay = self._patience.first_restart
            log.warning("model_server.restarting", model=self.model.name, reason=reason, after_seconds=delay)
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
            delay = min(2 * delay, self._patience.last_restart)
            process = await self._launch()
            self.restarts += 1
            is_known_good = False

    async def _watch(self, process: asyncio.subprocess.Process, is_up: bool) -> str:
        """Returns when the server has died or hung: which of them."""
        clock = asyncio.get_running_loop().time
        heard_at = clock()
        while not await self._has_ended(process, self._patience.check_every):
            if await is_healthy(HOST, self.port, self._patience.check_timeout):
                if not is_up:
                    log.info("model_server.up", model=self.model.name, pid=process.pid)
                is_up, heard_at = True, clock()
            elif clock() - heard_at > (self._patience.hung if is_up else self._patience.start):
                return "no answer to health checks"
        return f"ended with status {process.returncode}"

    async def _is_up_in_time(self, process: asyncio.subprocess.Process) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.start):
                while not await self._has_ended(process, 0.05):
                    if await is_healthy(HOST, self.port, self._patience.check_timeout):
                        return True
        return False

    async def _launch(self) -> asyncio.subprocess.Process:
        engine = require_engine(self.model.kind)
        settings = ServerSettings(
            path=str(self._path),
            name=self.model.name,
            kind=self.model.kind,
            port=self.port,
            api_key=self.api_key,
            context_tokens=self.model.context_tokens,
            slots=self.model.slots,
            threads=_threads(),
        )
        self._process = process = await asyncio.create_subprocess_exec(
            *(self._command or (sys.executable, "-P", "-m", engine.program)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**QUIET_THREADS, **os.environ, **OFFLINE},
        )
        if process.stdin is None or process.stderr is None:
            raise ConfigurationError("the model server was started without its pipes")
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(self._listen(process.stderr)))
        with contextlib.suppress(ConnectionError):  # it died at once: seen by whoever waits for it
            process.stdin.write(msgspec.json.encode(settings) + b"\n")
            await process.stdin.drain()
        return process

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        """Keeps the last lines; reading them on keeps the server from blocking on a full pipe."""
        while chunk := await stderr.read(64 * 1024):
            self._said.extend(line for line in chunk.decode(errors="replace").splitlines() if line.strip())

    async def _has_ended(self, process: asyncio.subprocess.Process, within_seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await process.wait()
        return process.returncode is not None

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is not None:
            process.stdin.close()
        if not await self._has_ended(process, self._patience.end):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _no_start(self, process: asyncio.subprocess.Process) -> str:
        how = f"ended with status {process.returncode}" if process.returncode is not None else "did not answer in time"
        said = f": {self._said[-1].strip()}" if self._said else ""
        return f"the server of the local model {self.model.name!r} {how}{said}"


def _reserve(port: int) -> socket.socket:
    """Binds the port without listening: it stays ours between two lives of the server, which binds it beside us.

    Whether another server listens is asked by calling it: SO_REUSEPORT lets us bind beside one of our own user.
    """
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        place.bind((HOST, port))
        if port and _is_answered(port):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    except OSError as error:
        place.close()
        raise ConfigurationError(
            f"port {port} of {HOST} can't be used ({error.strerror}): choose another one"
        ) from error
    return place


def _is_answered(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.settimeout(1.0)
        return caller.connect_ex((HOST, port)) == 0


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, MOST_THREADS)
