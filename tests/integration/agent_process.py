"""The official SDKs' servers as processes of their own, for the tests of agents and tools."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]
READY = "listens at "


class Agent:
    """A process that serves agents at ``url``, and can be killed and started again at the same place."""

    def __init__(self, module: str, port: int, environment: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {**os.environ, **environment}
        self._command = [sys.executable, "-m", module, str(port)]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith(READY), f"it ended before it listened: {line!r}"

    def kill(self) -> None:
        """``kill -9``."""
        process = self._process
        if process is not None:
            process.kill()
            process.communicate()
            self._process = None

    async def seen(self, words: str) -> dict[str, list[dict[str, str]]]:
        """The messages with these words, and which of their tasks were cancelled."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/seen/{words}") as reply:
            seen: dict[str, list[dict[str, str]]] = await reply.json()
            return seen

    async def finish(self, words: str) -> None:
        """Lets the work of that message end."""
        async with aiohttp.ClientSession() as http, http.post(f"{self.url}/finish/{words}") as reply:
            assert reply.status == 200


@contextmanager
def running_agent(module: str, port: int, **environment: str) -> Iterator[Agent]:
    """A started one, ended at the end."""
    agent = Agent(module, port, environment)
    agent.start()
    try:
        yield agent
    finally:
        agent.kill()
