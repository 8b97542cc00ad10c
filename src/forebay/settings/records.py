"""Settings: one frozen record, made once at start. docs/settings.md is generated from it."""

from pathlib import Path

from forebay.domain.record import Record
from forebay.domain.target import Route, TargetSpec


class StoreSettings(Record, frozen=True, kw_only=True):
    """Where jobs are kept. This version has SQLite: ``path`` is the file."""

    url: str
    path: Path


class Settings(Record, frozen=True, kw_only=True):
    """Everything that can be set, from defaults, ``forebay.yaml`` and the environment (``FOREBAY_<NAME>``)."""

    store: StoreSettings
    blobs: Path
    targets: tuple[TargetSpec, ...] = ()
    routes: tuple[Route, ...] = ()
    lease_seconds: float = 30.0
    log_level: str = "info"
    max_body_bytes: int = 16 * 1024 * 1024
    max_batch_lines: int = 1_000_000
    max_batch_bytes: int = 4_000_000_000
    default_deadline_seconds: float = 86_400.0
    result_ttl_seconds: float = 30 * 86_400.0
    file: Path | None = None  # the configuration that was read
