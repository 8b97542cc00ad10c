"""The commands that the demo runs, as a person would type them; none of them outlives the demo."""

import contextlib
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

READY_WITHIN_SECONDS = 60
END_WITHIN_SECONDS = 20

console = Console()


def forebay(*arguments: str) -> int:
    """Runs one command to its end and returns its exit code; shows it first."""
    with _started(arguments) as process:
        return process.wait()


def forebay_json(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Runs one command with ``--json``; returns its exit code and what it printed."""
    with _started((*arguments, "--json"), stdout=subprocess.PIPE) as process:
        printed, _ = process.communicate()
        return process.returncode, json.loads(printed) if printed.strip() else {}


def run_example(name: str, *arguments: str) -> int:
    """Runs one of the examples to its end and returns its exit code; shows its command first."""
    command = [str(Path("examples", name, "run.py")), *arguments]
    console.print(f"\n[bold cyan]$ python {_readable(command)}[/]", highlight=False, soft_wrap=True)
    process = subprocess.Popen([sys.executable, *command])  # noqa: S603 - our own words
    try:
        return process.wait()
    finally:
        _end(process)


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Runs ``forebay serve`` on a free port meanwhile; yields its address."""
    port = _free_port()
    with _started(("serve", "--port", str(port), *arguments)) as process:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, f"{url}/readyz")
        yield url


def end_like_an_interrupt() -> None:
    """Makes SIGTERM end the demo as Ctrl-C does: through every ``finally``."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@contextmanager
def _started(arguments: Sequence[str], stdout: int | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    console.print(f"\n[bold cyan]$ forebay {_readable(arguments)}[/]", highlight=False, soft_wrap=True)
    command = [sys.executable, "-m", "forebay", *arguments]
    process = subprocess.Popen(command, stdout=stdout)  # noqa: S603 - our own words
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends it in good order, and waits: a second Ctrl-C here kills it."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(END_WITHIN_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _readable(arguments: Sequence[str]) -> str:
    return " ".join(shlex.quote(argument) for argument in arguments).replace("[", r"\[")


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    until = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if _answers(url):
            return
        time.sleep(0.1)
    raise SystemExit(f"the server did not become ready at {url} (exit status {process.poll()})")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - our own server
            return bool(reply.status == 200)
    except OSError:  # refused, or 503: not yet
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
