"""What hurts the tables of a store in PostgreSQL: indexes, dead rows, leases of the dead. `health` runs the checks."""

import re
from collections.abc import AsyncIterator

from forebay.domain.health import Check, Level, of_stale_leases, span_of
from forebay.stores.postgres.link import Connection
from forebay.stores.postgres.place import Place
from forebay.stores.postgres.statements import migrations

MANY_DEAD, DEAD_SHARE = 50_000, 0.5
LATE_LEASES = 2.0  # in lengths of a lease: by then any living worker has taken them back
_CREATE = re.compile(r"^CREATE (?:UNIQUE )?INDEX (\w+) ON [^;]+;", re.MULTILINE)
_DROP = re.compile(r"^DROP INDEX (?:IF EXISTS )?(\w+)", re.MULTILINE)
_TABLE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
_INDEXES = """
SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1"""
_KEYLESS = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY($2::text[])
  AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)"""
_DEAD = """
SELECT relname, n_dead_tup, n_live_tup,
  extract(epoch FROM clock_timestamp() - greatest(last_autovacuum, last_vacuum))::float8
FROM pg_stat_user_tables
WHERE schemaname = $1 AND n_dead_tup > $2 AND n_dead_tup > $3 * (n_live_tup + n_dead_tup) ORDER BY n_dead_tup DESC"""
_STALE = """
SELECT count(*) FROM leases l LEFT JOIN workers w ON w.id = l.worker_id
WHERE w.id IS NULL OR w.epoch <> l.epoch OR w.is_dead
  OR w.heartbeat_at + $1 * w.lease_seconds < extract(epoch FROM clock_timestamp())"""


async def indexes(connection: Connection, place: Place) -> AsyncIterator[Check]:
    """Whether each index of the layout is there and valid."""
    wanted = _wanted()
    found = {row[0]: row[1] for row in await connection.fetch(_INDEXES, place.schema)}
    wrong = [f"{name} is missing: {text}" for name, text in wanted.items() if name not in found]
    wrong += [
        f"{name} is invalid: REINDEX INDEX CONCURRENTLY {place.quoted_schema}.{name}"
        for name, is_valid in found.items()
        if not is_valid
    ]
    tables = sorted({name for _, text in migrations() for name in _TABLE.findall(text)})
    keyless = await connection.fetch(_KEYLESS, place.schema, tables)
    wrong += [f"{row[0]} has no primary key: restore it from a backup" for row in keyless]
    for sentence in wrong:
        yield Check(name="indexes", level=Level.FAIL, message=sentence)
    if not wrong:
        yield Check(name="indexes", level=Level.OK, message=f"all {len(found)} are there and valid")


async def dead_rows(connection: Connection, place: Place) -> AsyncIterator[Check]:
    """Whether what was deleted is cleared away in time."""
    is_off = await connection.fetchval("SELECT current_setting('autovacuum')") == "off"
    if is_off:
        message = "autovacuum is off: dead rows are never cleared away, and claims wade through them; set it to on"
        yield Check(name="dead rows", level=Level.FAIL, message=message)
    found = await connection.fetch(_DEAD, place.schema, MANY_DEAD, DEAD_SHARE)
    for table, dead, live, seconds in found:
        when = "never vacuumed" if seconds is None else f"last vacuumed {span_of(seconds)} ago"
        message = (
            f"{table} has {dead:,} dead rows beside {live:,}, {when}: see `transactions` above, and "
            f"VACUUM (ANALYZE) {place.quoted_schema}.{table}"
        )
        yield Check(name="dead rows", level=Level.WARN, message=message)
    if not found and not is_off:
        yield Check(name="dead rows", level=Level.OK, message="few in every table")


async def leases(connection: Connection) -> AsyncIterator[Check]:
    """Whether jobs are held by workers that died and that nobody survived."""
    yield of_stale_leases(await connection.fetchval(_STALE, LATE_LEASES))


def _wanted() -> dict[str, str]:
    """The indexes of the layout by name, with what makes them."""
    wanted: dict[str, str] = {}
    for _, text in migrations():
        wanted.update({found.group(1): " ".join(found.group().split()) for found in _CREATE.finditer(text)})
        for name in _DROP.findall(text):
            wanted.pop(name, None)
    return wanted
