"""The two processes that the example needs: Forebay, and the mock that plays a provider far away."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
READY_WITHIN_SECONDS = 120
FOREBAY = [sys.executable, "-m", "forebay"]


def run(*arguments: str) -> str:
    """Runs a command of Forebay in the example's folder and returns what it prints."""
    return subprocess.run([*FOREBAY, *arguments], check=True, cwd=HERE, stdout=subprocess.PIPE, text=True).stdout


@contextlib.contextmanager
def mock_model(latency_ms: int) -> Iterator[str]:
    """A model that costs nothing and takes its time; yields its base URL."""
    command = [*FOREBAY, "mock-model", "--port", "0", "--latency-ms", str(latency_ms), "--json"]
    with ended(subprocess.Popen(command, stdout=subprocess.PIPE)) as process:
        line = process.stdout.readline() if process.stdout else b""
        yield json.loads(line)["base_url"].removesuffix("/v1") + "/v1"


@contextlib.contextmanager
def forebay_server() -> Iterator[str]:
    """A server with the example's configuration; yields its address."""
    command = [*FOREBAY, "serve", "--port", "0", "--json"]
    with ended(subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE)) as process:
        line = process.stdout.readline() if process.stdout else b""
        url = json.loads(line)["url"]
        wait_until_ready(f"{url}/readyz")
        yield url


@contextlib.contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """Ends a process in good order."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_until_ready(url: str) -> None:
    """Returns when the server answers."""
    until = time.monotonic() + READY_WITHIN_SECONDS
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10):
            return
        if time.monotonic() > until:
            raise SystemExit(f"the server did not become ready at {url}")
        time.sleep(0.1)


def prepare(out: Path, model: str, far: str) -> None:
    """Tells the configuration its places."""
    os.environ.update(COMPLAINT_OUT=str(out), COMPLAINT_MODEL=model, COMPLAINT_FAR=far, FOREBAY_LOG_LEVEL="warning")
