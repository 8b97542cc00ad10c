"""Where a bench runs: a folder of its own, the mock's program, and the processes that the sections start."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from forebay.bench.child import Child, forebay_child
from forebay.bench.mock import Program, mock_model
from forebay.bench.sizes import Sizes
from forebay.settings import Settings, load_settings

SLOTS = 2048  # leases outlive their calls by a commit, so a few more than a bare pool's tasks
PADDING = b"word " * 150  # about 1 KB a request
BODY = b'{"model":"mock","messages":[{"role":"user","content":"%s %d"}]}'
MICROSECONDS = 1e6
SQLITE_STORE = "sqlite:///bench.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What every section is given. ``tell`` says what is going on, to a person."""

    folder: Path
    program: Program
    sizes: Sizes
    tell: Callable[[str], None]
    notes: list[str] = field(default_factory=list)  # for the report: what was left out, and why

    def mock(self, latency_ms: float | None = None) -> AbstractAsyncContextManager[Child]:
        """Runs the mock model: ``async with place.mock() as mock: mock.address``."""
        return mock_model(self.program, self.sizes.latency_ms if latency_ms is None else latency_ms)

    def new_folder(self, name: str) -> Path:
        """An empty folder."""
        folder = self.folder / name
        folder.mkdir()
        return folder


def bodies(count: int) -> list[bytes]:
    """Requests of about 1 KB, no two alike."""
    return [BODY % (PADDING, place) for place in range(count)]


def configure(folder: Path, base_url: str, concurrency: int | None = SLOTS, *, store: str = SQLITE_STORE) -> Path:
    """Writes a configuration with the one target ``mock``. ``concurrency`` None: it has to be learned."""
    limits = {} if concurrency is None else {"limits": {"concurrency": concurrency}}
    target = {"type": "openai", "base_url": base_url, "models": ["mock"], **limits}
    file = folder / "forebay.yaml"
    file.write_text(json.dumps({"store": store, "targets": {"mock": target}}))
    return file


def settings_of(file: Path) -> Settings:
    """The settings of a configuration that was written here; the environment has no part in it."""
    return load_settings(file, {})


@asynccontextmanager
async def server(file: Path, *arguments: str) -> AsyncIterator[Child]:
    """Runs ``forebay serve`` on a free port."""
    async with forebay_child("serve", "--port", "0", "--config", str(file), *arguments, ready="forebay at") as running:
        yield running


@asynccontextmanager
async def worker(file: Path) -> AsyncIterator[Child]:
    """Runs ``forebay worker``."""
    async with forebay_child("worker", "--config", str(file), ready=" serves ") as running:
        yield running
