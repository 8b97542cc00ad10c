"""What hurts a server of PostgreSQL: how it is set, who holds it, how full it is. `health` runs these checks."""

from collections.abc import AsyncIterator

from forebay.domain.health import Check, Level, size_of, span_of
from forebay.stores.postgres.link import Connection
from forebay.stores.postgres.place import Place

CONNECTIONS_OF_A_PROCESS = 5
FEW_CONNECTIONS, SCARCE_CONNECTIONS = 0.2, 5  # a share of all; a number
LONG_SECONDS, TOO_LONG_SECONDS = 60.0, 3600.0  # of a transaction, which keeps dead rows from being cleared away
OLD_IDS, TOO_OLD_IDS = 10**9, 1_600_000_000  # of 2,147,483,648 transactions, before which all must be frozen
_SERVER = "SELECT pg_is_in_recovery(), pg_database_size(current_database()), current_setting('server_version')"
_SETTINGS = "SELECT current_setting($1)"
_OPEN = """
SELECT pid, coalesce(application_name, ''), coalesce(state, ''),
  extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
  AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
ORDER BY xact_start LIMIT 1"""
_HIDDEN = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND usesysid <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
  AND NOT pg_has_role('pg_read_all_stats', 'usage')"""
_PREPARED = """
SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8 FROM pg_prepared_xacts
WHERE database = current_database() ORDER BY prepared LIMIT 1"""
_SLOTS = """
SELECT slot_name, greatest(age(xmin), age(catalog_xmin)) FROM pg_replication_slots
WHERE NOT active AND (xmin IS NOT NULL OR catalog_xmin IS NOT NULL) LIMIT 1"""
_AGE = "SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()"
_USED = """
SELECT (SELECT sum(numbackends)::bigint FROM pg_stat_database),
  current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint,
  (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()),
  (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
  (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user),
  (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)"""


async def server(connection: Connection) -> AsyncIterator[Check]:
    """Which it is, and whether it can be written."""
    [[is_standby, size, version]] = await connection.fetch(_SERVER)
    if is_standby:
        message = f"PostgreSQL {version} is a standby, which can't be written: name the primary in `store:`"
        yield Check(name="server", level=Level.FAIL, message=message)
    else:
        yield Check(name="server", level=Level.OK, message=f"PostgreSQL {version}, database of {size_of(size)}")


async def durability(connection: Connection) -> AsyncIterator[Check]:
    """Whether what was acknowledged outlives a crash."""
    lost = {
        "fsync": "a power cut may destroy the whole database",
        "synchronous_commit": "a crash of the server forgets jobs that were acknowledged",
        "full_page_writes": "a power cut may leave half-written pages",
    }
    found = [name for name in lost if await connection.fetchval(_SETTINGS, name) == "off"]
    for name in found:
        message = f"{name} is off, so that {lost[name]}: set it to on, and not for this database or role alone"
        yield Check(name="durability", level=Level.FAIL, message=message)
    if not found:
        yield Check(name="durability", level=Level.OK, message="commits wait for the disk")


async def transactions(connection: Connection) -> AsyncIterator[Check]:
    """Who keeps dead rows from being cleared away: claims wade through them."""
    found: list[Check] = []
    for pid, application, state, seconds in await connection.fetch(_OPEN):
        who = f"session {pid}" + (f" ({application})" if application else "")
        todo = f"end it: SELECT pg_terminate_backend({pid})"
        found += _held(f"{who}, {state or 'of another role'}, has had a transaction open for", seconds, todo)
    for name, seconds in await connection.fetch(_PREPARED):
        found += _held(f"the prepared transaction {name!r} is open for", seconds, f"ROLLBACK PREPARED '{name}'")
    for name, age in await connection.fetch(_SLOTS):
        message = f"the replication slot {name!r}, which nobody reads, holds rows of {age:,} transactions ago: drop it"
        found.append(Check(name="transactions", level=Level.WARN, message=message))
    age = await connection.fetchval(_AGE)
    if age > OLD_IDS:
        level = Level.FAIL if age > TOO_OLD_IDS else Level.WARN
        message = f"rows of {age:,} transactions ago are not frozen; the server stops at 2 thousand million: VACUUM"
        found.append(Check(name="transactions", level=level, message=message))
    if hidden := await connection.fetchval(_HIDDEN):
        message = f"{hidden} sessions of other roles can't be looked at: GRANT pg_read_all_stats to ours"
        found.append(Check(name="transactions", level=Level.OK, message=message))
    for check in found or [Check(name="transactions", level=Level.OK, message="none is open for long")]:
        yield check


async def connections(connection: Connection) -> AsyncIterator[Check]:
    """How many more may be opened, by the server's, the database's and the role's limits."""
    [[used, most, of_database, database_limit, of_role, role_limit]] = await connection.fetch(_USED)
    limits = [(used, most, "max_connections"), (of_database, database_limit, "of this database")]
    limits.append((of_role, role_limit, "of this role"))
    held = [(taken, limit, whose) for taken, limit, whose in limits if limit is not None and limit >= 0]
    taken, limit, whose = min(held, key=lambda one: one[1] - one[0])
    free = limit - taken
    level = Level.FAIL if free < SCARCE_CONNECTIONS else Level.WARN if free < limit * FEW_CONNECTIONS else Level.OK
    todo = "" if level is Level.OK else ": raise it, or put a pooler between (?pooler=transaction)"
    message = f"{taken} of {limit} taken ({whose}); a process of ours takes up to {CONNECTIONS_OF_A_PROCESS}{todo}"
    yield Check(name="connections", level=level, message=message)


async def pooler(connection: Connection, place: Place) -> AsyncIterator[Check]:
    """Whether a pooler stands between, which gives another number of the session than the server does."""
    is_between = connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()")
    if is_between and not place.is_pooled:
        message = (
            "a pooler stands between, and `store:` does not say so: add ?pooler=transaction, unless it lends whole "
            "sessions"
        )
        yield Check(name="pooler", level=Level.WARN, message=message)
    elif place.is_pooled:
        seen = "a pooler" if is_between else "none seen"
        yield Check(
            name="pooler", level=Level.OK, message=f"{seen}; `store:` says pooler=transaction: no hints, polling"
        )
    else:
        yield Check(name="pooler", level=Level.OK, message="none: hints by LISTEN")


def _held(what: str, seconds: float, todo: str) -> list[Check]:
    if seconds < LONG_SECONDS:
        return []
    level = Level.FAIL if seconds > TOO_LONG_SECONDS else Level.WARN
    message = f"{what} {span_of(seconds)}: no dead row can be cleared away meanwhile, and claims slow down; {todo}"
    return [Check(name="transactions", level=level, message=message)]
