"""The layout of a store and its migration: numbered files, forward only, each in a transaction with its number."""

import asyncio
import random
from enum import StrEnum
from typing import NamedTuple

import asyncpg

from forebay.domain.errors import StoreRefused, StoreUnavailable
from forebay.stores.postgres.faults import BUSY, LOST, reason_of, unavailable
from forebay.stores.postgres.link import Connection, Link
from forebay.stores.postgres.place import Place
from forebay.stores.postgres.statements import migrations

OLDEST_SERVER = 14
MIGRATE_LOCK = 0x466F7265626179  # "Forebay": one migration at a time
MIGRATION_SECONDS = 3600
LOCK_TIMEOUT = "1s"  # whoever wants the table queues behind the wait for its lock
TRIES = 30  # of a step that waited in vain for a lock
TRY_PAUSE_SECONDS = 1.0
_IN_THE_WAY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
LAYOUT = "layout"  # the name in `meta`
MARK, PROGRAM = "program", "forebay"
COMMAND = "forebay store migrate"


class State(StrEnum):
    """How a store's layout stands to this program's."""

    MISSING = "missing"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"
    FOREIGN = "foreign"  # a schema of that name with someone else's tables


class Layout(NamedTuple):
    """What was found, and the newest layout that this program knows."""

    state: State
    version: int
    newest: int


async def read_layout(place: Place) -> Layout:
    """Looks at the store. Raises: StoreRefused: no such database, or too old a server. StoreUnavailable."""
    link = Link(place, "layout")
    try:
        connection = await link.connection()
        version = connection.get_server_version()
        if version.major < OLDEST_SERVER:
            raise StoreRefused(f"{place.shown} is PostgreSQL {version.major}; Forebay needs {OLDEST_SERVER} or later")
        return await _look(connection, place)
    except asyncpg.InsufficientPrivilegeError as exc:
        raise StoreRefused(f"we may not read schema {place.schema!r} of {place.shown}: {exc}") from exc
    except (*LOST, *BUSY) as exc:
        raise StoreUnavailable(f"{place.shown} can't be reached: {reason_of(exc)}") from exc
    finally:
        await link.close()


def refuse_unless_current(place: Place, layout: Layout) -> None:
    """Raises: StoreRefused: one sentence that names the next step."""
    match layout.state:
        case State.CURRENT:
            return
        case State.MISSING:
            reason = f"there is no Forebay store in schema {place.schema!r} of {place.shown} yet: run `{COMMAND}` once"
        case State.OLDER:
            reason = (
                f"the store in {place.shown} has layout {layout.version}, and this Forebay needs {layout.newest}: "
                f"run `{COMMAND}`; workers of the last release go on meanwhile"
            )
        case State.NEWER:
            reason = (
                f"the store in {place.shown} was written by a newer Forebay (layout {layout.version}, this one knows "
                f"{layout.newest}); upgrade this program"
            )
        case State.FOREIGN:
            reason = _foreign(place)
    raise StoreRefused(reason)


async def migrate(place: Place) -> tuple[int, int]:
    """Brings the store to this program's layout, making it if need be; returns the layouts before and after.

    Safe when several do it at once, and while workers of the last release run: each step waits for a lock no longer
    than a second, and tries again. Raises: StoreRefused: it is newer, or another program's. StoreUnavailable: the
    server is away, or another session kept a table to itself all the time.
    """
    before = await read_layout(place)
    if before.state in (State.NEWER, State.FOREIGN):
        refuse_unless_current(place, before)
    try:
        for number, text in migrations():
            if number > before.version:
                await _patiently(place, number, text)
    except asyncpg.LockNotAvailableError as exc:
        raise StoreUnavailable(
            f"other sessions keep the tables in {place.shown} locked ({exc}); what was migrated stands, workers go on: "
            f"run `{COMMAND}` again when they have ended"
        ) from exc
    except (*LOST, *BUSY) as exc:
        raise unavailable(exc) from exc
    after = await read_layout(place)
    return before.version, after.version


async def _patiently(place: Place, number: int, text: str) -> None:
    """One step; if another session was in its way it stepped back, and begins anew after a pause."""
    for left in reversed(range(TRIES)):
        try:
            await _step(place, number, text)
        except _IN_THE_WAY:
            if not left:
                raise
        else:
            return
        await asyncio.sleep(TRY_PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter


async def _step(place: Place, number: int, text: str) -> None:
    link = Link(place, "migration")
    try:
        async with link.transaction() as connection:
            await connection.execute(
                f"SET LOCAL statement_timeout = '{MIGRATION_SECONDS}s'; SET LOCAL lock_timeout = 0"
            )
            await connection.fetchval("SELECT pg_advisory_xact_lock($1)", MIGRATE_LOCK)
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            layout = await _look(connection, place)
            if layout.version >= number:
                return  # another was faster
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {place.quoted_schema}")
            await connection.execute(text)
            for name, value in ((MARK, PROGRAM), (LAYOUT, str(number))):
                await connection.execute(
                    "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
                    name,
                    value,
                )
    except asyncpg.InsufficientPrivilegeError as exc:
        raise StoreRefused(
            f"we may not make tables in schema {place.schema!r} of {place.shown} ({exc}): run `{COMMAND}` as its owner"
        ) from exc
    finally:
        await link.close()


async def _look(connection: Connection, place: Place) -> Layout:
    newest = migrations()[-1][0]
    found = await connection.fetchval("SELECT to_regclass($1)::text", f"{place.quoted_schema}.meta")
    if found is None:
        others = await connection.fetchval(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1",
            place.schema,
        )
        return Layout(State.FOREIGN if others and place.schema != "public" else State.MISSING, 0, newest)
    try:
        rows = await connection.fetch(f"SELECT name, value FROM {place.quoted_schema}.meta")  # noqa: S608 - quoted
    except asyncpg.UndefinedColumnError:
        return Layout(State.FOREIGN, 0, newest)
    known = {row[0]: row[1] for row in rows}
    if known.get(MARK) != PROGRAM:
        return Layout(State.FOREIGN, 0, newest)
    version = int(known[LAYOUT])
    state = State.CURRENT if version == newest else State.OLDER if version < newest else State.NEWER
    return Layout(state, version, newest)


def _foreign(place: Place) -> str:
    return (
        f"schema {place.schema!r} of {place.shown} holds another program's tables; name another by ?schema=… in the "
        "store's address"
    )
