"""What hurts a store in PostgreSQL, for `forebay doctor`: every check, in one short transaction that reads."""

import time
from typing import NamedTuple

from forebay.domain.errors import ForebayError
from forebay.domain.health import Check, Level
from forebay.stores.postgres import health_server, health_tables
from forebay.stores.postgres.faults import BUSY, LOST, unavailable
from forebay.stores.postgres.link import READING, Connection, Link
from forebay.stores.postgres.migrating import read_layout, refuse_unless_current
from forebay.stores.postgres.place import Place

SKEW_SECONDS = 2.0
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


class Findings(NamedTuple):
    """``skew_seconds``: by how much the database's clock is ahead of this machine's."""

    checks: list[Check]
    skew_seconds: float = 0.0


async def examine(place: Place) -> Findings:
    """Every check; if the server can't be reached or is none for us, that alone."""
    link = Link(place, "doctor")
    checks: list[Check] = []
    skew = 0.0
    try:
        layout = await read_layout(place)
        async with link.transaction(READING) as connection:
            skew = await _skew(connection)
            checks += [_of_skew(skew), *await _of_server(connection, place)]
            refuse_unless_current(place, layout)
            checks.append(Check(name="layout", level=Level.OK, message=f"{layout.version}, the newest"))
            checks += await _of_tables(connection, place)
    except (*LOST, *BUSY) as exc:
        checks.append(Check(name="store", level=Level.FAIL, message=str(unavailable(exc))))
    except ForebayError as error:
        checks.append(Check(name="store", level=Level.FAIL, message=str(error)))
    finally:
        await link.close()
    return Findings(checks, skew)


async def _of_server(connection: Connection, place: Place) -> list[Check]:
    steps = (
        health_server.server(connection),
        health_server.durability(connection),
        health_server.connections(connection),
        health_server.pooler(connection, place),
        health_server.transactions(connection),
    )
    return [check for step in steps async for check in step]


async def _of_tables(connection: Connection, place: Place) -> list[Check]:
    steps = (
        health_tables.indexes(connection, place),
        health_tables.dead_rows(connection, place),
        health_tables.leases(connection),
    )
    return [check for step in steps async for check in step]


async def _skew(connection: Connection) -> float:
    """The database's time against the middle of the question and its answer."""
    before = time.time()
    there = float(await connection.fetchval(_NOW))
    return there - (before + time.time()) / 2


def _of_skew(skew: float) -> Check:
    if abs(skew) <= SKEW_SECONDS:
        return Check(name="clock", level=Level.OK, message=f"{abs(skew) * 1000:.0f} ms from the database's")
    where = "behind" if skew > 0 else "ahead of"
    message = (
        f"this machine's clock is {abs(skew):,.0f} s {where} the database's, by which leases and due times go: set "
        "both by NTP"
    )
    return Check(name="clock", level=Level.WARN, message=message)
