"""Runs the command line as users do: in processes of its own, against a mock model in another."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay.testing.processes import LONGEST_SECONDS

COMMAND = (sys.executable, "-m", "forebay")


def environment(**more: str) -> dict[str, str]:
    """The environment without anything that configures Forebay."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FOREBAY_", "OPENAI_"))}
    return {**kept, **more}


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def forebay(*arguments: str | Path, cwd: Path, stdin: str | None = None, **more: str) -> Ended:
    """Runs a command to its end."""
    ended = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def started(*arguments: str | Path, cwd: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a command beside the test, and kills it at the end if it is still there."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@dataclass(frozen=True)
class Mock:
    """A mock model and what it counted."""

    base_url: str

    @property
    def url(self) -> str:
        return self.base_url.removesuffix("/v1")

    @property
    def calls(self) -> int:
        return int(self._ask("/mock/calls")["total"])

    @property
    def answered(self) -> int:
        return int(self._ask("/mock/calls")["by_outcome"].get("200", 0))

    @property
    def in_flight(self) -> int:
        return int(self._ask("/mock/calls")["in_flight"])

    def reset(self) -> None:
        self._ask("/mock/reset", {})

    def change(self, **options: Any) -> None:
        self._ask("/mock/options", options)

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(
            urllib.request.Request(self.url + path, data=data), timeout=LONGEST_SECONDS
        ) as reply:
            return json.loads(reply.read())


@contextmanager
def mock_model(folder: Path, *arguments: str) -> Iterator[Mock]:
    """A mock model on a free port."""
    with started("mock-model", "--port", "0", *arguments, cwd=folder) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+/v1", process.stdout.readline())
        assert found is not None
        yield Mock(found.group())
        process.send_signal(signal.SIGTERM)
        process.wait(LONGEST_SECONDS)


def until(is_true: Callable[[], bool], what: str) -> None:
    """Waits for a condition outside of this process."""
    end = time.monotonic() + LONGEST_SECONDS
    while not is_true():
        assert time.monotonic() < end, f"it never came to {what}"
        time.sleep(0.02)


def write_lines(path: Path, records: Sequence[Any]) -> Path:
    """Writes JSONL."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read_lines(path: Path) -> list[Any]:
    """Reads JSONL."""
    return [json.loads(line) for line in path.read_text().splitlines()]
