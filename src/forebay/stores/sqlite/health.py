"""What hurts a store in a file, for `forebay doctor`. Reads only, by a connection that can't write."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from forebay.domain.health import Check, Level, of_stale_leases, size_of

LOW_BYTES, SCARCE_BYTES = 2 * 10**9, 2 * 10**8
LONG_LOG_BYTES = 256 * 10**6  # sixteen times what is copied into the file at a time
CLOCK_SECONDS = 5.0
LATE_LEASES = 2.0  # in lengths of a lease: by then any living worker has taken them back
_STALE = """
SELECT count(*) FROM leases l LEFT JOIN workers w ON w.id = l.worker_id
WHERE w.id IS NULL OR w.epoch <> l.epoch OR w.is_dead = 1 OR w.heartbeat_at + ?1 * w.lease_seconds < ?2"""
_TABLES = "SELECT count(*) FROM sqlite_schema WHERE name IN ('leases', 'workers')"


def examine(path: Path, blobs: Path) -> Iterator[Check]:
    """Every check of the file, or those of its place alone if it does not exist yet."""
    yield _disk("disk", path.parent if path.parent.is_dir() else Path.cwd())
    if blobs.is_dir() and blobs.stat().st_dev != path.parent.stat().st_dev:
        yield _disk("disk of blobs", blobs)
    if not path.exists():
        return
    yield _log(path.with_name(path.name + "-wal"))
    yield _file_clock(path)
    for name, look in (("integrity", _integrity), ("leases", _leases)):
        yield _looked(name, path, look)


def _looked(name: str, path: Path, look: Callable[[apsw.Connection, Path], Check]) -> Check:
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(1000)
            return look(connection, path)
        finally:
            connection.close()
    except apsw.Error as error:
        return Check(name=name, level=Level.FAIL, message=f"{path}: {error}; restore the file from a backup")


def _integrity(connection: apsw.Connection, path: Path) -> Check:
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    if found == ["ok"]:
        return Check(name="integrity", level=Level.OK, message=f"{size_of(path.stat().st_size)}, nothing wrong")
    wrong = "; ".join(found)
    return Check(name="integrity", level=Level.FAIL, message=f"{wrong}: restore the file from a backup")


def _leases(connection: apsw.Connection, path: Path) -> Check:
    if int(str(connection.execute(_TABLES).fetchall()[0][0])) < len(("leases", "workers")):
        return Check(name="leases", level=Level.FAIL, message=f"{path} is no store of Forebay: name another file")
    count = int(str(connection.execute(_STALE, (LATE_LEASES, time.time())).fetchall()[0][0]))
    return of_stale_leases(count)


def _disk(name: str, folder: Path) -> Check:
    usage = shutil.disk_usage(folder)
    level = Level.FAIL if usage.free < SCARCE_BYTES else Level.WARN if usage.free < LOW_BYTES else Level.OK
    todo = "" if level is Level.OK else ": make room, or lower `result_ttl`"
    return Check(
        name=name, level=level, message=f"{size_of(usage.free)} of {size_of(usage.total)} free at {folder}{todo}"
    )


def _log(path: Path) -> Check:
    size = path.stat().st_size if path.exists() else 0
    if size < LONG_LOG_BYTES:
        return Check(name="log", level=Level.OK, message=f"{size_of(size)} not yet copied into the file")
    message = (
        f"{size_of(size)} at {path}: some program reads one old state of the file and never ends (a backup? a shell of "
        "sqlite3?): end it"
    )
    return Check(name="log", level=Level.WARN, message=message)


def _file_clock(path: Path) -> Check:
    ahead = path.stat().st_mtime - time.time()
    if ahead > CLOCK_SECONDS:
        message = f"the file was written {ahead:,.0f} s from now: this machine's clock was set back; set it right (NTP)"
        return Check(name="clock", level=Level.WARN, message=message)
    return Check(name="clock", level=Level.OK, message="not behind the file")
