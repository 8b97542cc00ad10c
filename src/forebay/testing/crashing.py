"""A ``forebay`` that is killed at a named point: ``python -m forebay.testing.crashing --at apply.committed --hit 3 --
serve …`` ends by SIGKILL as it passes the point for the third time. The product knows nothing of it: the functions
named here are wrapped from outside. ``--list`` prints the names; ``--store`` says which store it will open; with
``--once FILE`` passages count only from when that file exists.
"""

import argparse
import asyncio
import functools
import importlib
import inspect
import itertools
import os
import signal
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from forebay.__main__ import main as run

VERBS = ("add", "claim", "begin", "apply", "settle", "renew", "retire", "recover", "cancel", "retry", "append")


class Backing(StrEnum):
    """What the store is made of."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class Moment(StrEnum):
    BEFORE = "before"
    AFTER = "after"


class Point(NamedTuple):
    """Before or after one function of the product."""

    module: str
    attribute: str
    moment: Moment


def _verbs() -> dict[str, Point]:
    """Around each verb: asked for and not committed, committed and nobody knows."""
    ends = ((Moment.BEFORE, "asked"), (Moment.AFTER, "committed"))
    return {
        f"{verb}.{said}": Point("forebay.stores.sqlite.jobs", f"SqliteJobs.{verb}", moment)
        for verb in VERBS
        for moment, said in ends
    }


POINTS: Final[Mapping[str, Point]] = {
    **_verbs(),
    # Between two statements of an open transaction.
    "transaction.open": Point("forebay.stores.sqlite.transaction", "Tx.bulk", Moment.AFTER),
    "record.asked": Point("forebay.stores.sqlite.records", "SqliteRecords.put", Moment.BEFORE),
    "record.committed": Point("forebay.stores.sqlite.records", "SqliteRecords.put", Moment.AFTER),
    "store.opened": Point("forebay.app", "open_store", Moment.AFTER),
    # Its bytes are there, its name is not; its name is there, and no row that refers to it.
    "blob.drafted": Point("forebay.blobs.incoming", "Incoming.keep", Moment.BEFORE),
    "blob.written": Point("forebay.blobs.files", "FileBlobs.write", Moment.AFTER),
    "segment.written": Point("forebay.engine.handlers.batch.taking", "segment_of", Moment.AFTER),
    "call.sent": Point("forebay.targets.openai_compatible", "OpenAiTarget.call", Moment.BEFORE),
    "call.answered": Point("forebay.targets.openai_compatible", "OpenAiTarget.call", Moment.AFTER),
    "run.created": Point("forebay.runs.local", "LocalBatches.create", Moment.AFTER),
    "partial.written": Point("forebay.runs.partial", "PartialOutput.write", Moment.AFTER),
    "output.drafted": Point("forebay.connectors.drafts", "sync", Moment.BEFORE),
    "output.synced": Point("forebay.connectors.drafts", "sync", Moment.AFTER),  # hit 2: its name is durable
    "run.published": Point("forebay.runs.job", "publish", Moment.AFTER),
}

_JOBS = "forebay.stores.sqlite.jobs"
_RECORDS = ("forebay.stores.postgres.records", "PostgresRecords.put")
_BLOBS = "forebay.blobs.postgres"
# Where the same points stand when the store is PostgreSQL; all others are the same.
_IN_POSTGRESQL: Final[Mapping[str, Point]] = {
    **{
        name: Point("forebay.stores.postgres.jobs", point.attribute.replace("Sqlite", "Postgres"), point.moment)
        for name, point in POINTS.items()
        if point.module == _JOBS
    },
    "transaction.open": Point("forebay.stores.postgres.transaction", "Tx.bulk", Moment.AFTER),
    "record.asked": Point(*_RECORDS, Moment.BEFORE),
    "record.committed": Point(*_RECORDS, Moment.AFTER),
    "store.opened": Point("forebay.stores.postgres", "open_store", Moment.AFTER),
    "blob.drafted": Point(_BLOBS, "PostgresBlobs._append", Moment.AFTER),
    "blob.written": Point(_BLOBS, "PostgresBlobs.write", Moment.AFTER),
}


def die() -> None:
    """``kill -9`` from inside: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # it is delivered before this returns


def arm(
    name: str,
    hit: int = 1,
    strike: Callable[[], None] = die,
    *,
    backing: Backing = Backing.SQLITE,
    gate: Path | None = None,
) -> None:
    """From now on, or from when there is a file at ``gate``, ``strike`` is called as the point is passed for the
    ``hit``-th time.

    Raises: KeyError: no such point; AttributeError: the product has no such function any more.
    """
    point = POINTS[name]
    if backing is Backing.POSTGRESQL:
        point = _IN_POSTGRESQL.get(name, point)
    owner: Any = importlib.import_module(point.module)
    *path, last = point.attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    setattr(owner, last, _wrapped(getattr(owner, last), point.moment, _Fuse(hit, strike, gate)))


class _Fuse:
    """Counts passages, from any thread."""

    def __init__(self, hit: int, strike: Callable[[], None], gate: Path | None) -> None:
        self._hit = hit
        self._gate = gate
        self._passages = itertools.count(1)  # its next() is atomic
        self._strike = strike

    def burn(self) -> None:
        if self._gate is not None and not self._gate.exists():
            return
        if next(self._passages) == self._hit:
            self._strike()


def _wrapped(function: Callable[..., Any], moment: Moment, fuse: _Fuse) -> Callable[..., Any]:
    @functools.wraps(function)
    async def awaited(*arguments: Any, **named: Any) -> Any:
        if moment is Moment.BEFORE:
            fuse.burn()
        result = await function(*arguments, **named)
        if moment is Moment.AFTER:
            await asyncio.sleep(0)  # what the commit woke has its turn first
            fuse.burn()
        return result

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        if moment is Moment.BEFORE:
            fuse.burn()
        result = function(*arguments, **named)
        if moment is Moment.AFTER:
            fuse.burn()
        return result

    return awaited if inspect.iscoroutinefunction(function) else called


def main() -> None:
    """Arms the points and runs the command line behind ``--``."""
    parser = argparse.ArgumentParser(prog="python -m forebay.testing.crashing", description=__doc__)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--at", choices=POINTS, metavar="POINT")
    parser.add_argument("--hit", type=int, default=1)
    parser.add_argument("--store", type=Backing, choices=list(Backing), default=Backing.SQLITE)
    parser.add_argument("--once", type=Path, metavar="FILE")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    if options.list:
        print("\n".join(POINTS))
        return
    if options.at:
        arm(options.at, options.hit, backing=options.store, gate=options.once)
    sys.argv = ["forebay", *options.command]
    run()


if __name__ == "__main__":
    main()
