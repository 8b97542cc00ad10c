"""The plans of what asks for leases, once dead ones that another session's transaction keeps were analysed away.

Such a table seems empty to the planner, and reading all of it cheap: it must be asked for by its keys all the same.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from forebay.stores.postgres import Place, migrate, read_place
from forebay.stores.postgres.find import statement
from forebay.stores.postgres.link import manners
from forebay.stores.postgres.statements import statements
from tests.integration.postgres_house import server
from tests.integration.test_postgres_plans import HOT, IDS, QUERIES, nodes, planned

SCHEMA = "buried"
BURY = """
INSERT INTO leases (job_id, lane, worker_id, epoch, is_alone, claimed_at)
SELECT 'job_' || lpad(n::text, 8, '0'), 'lane' || n % 3, 'w', 0, false, 1 FROM generate_series(1, 20000) AS n
"""
BY_KEYS = tuple(name for name in HOT if "leases" in statements()[name] or "job_rows" in statements()[name])
PAGES = tuple(name for name in QUERIES if name != "running")  # that one reads the leases: all of what is in flight
WALKS = ("Index Scan", "Index Only Scan", "Bitmap Index Scan")


@pytest.fixture(scope="module")
def buried() -> Iterator[Place]:
    """A store whose leases are all dead, kept and analysed."""
    place = read_place(f"{server().make_database(SCHEMA)}?schema={SCHEMA}")
    asyncio.run(migrate(place))
    with asyncio.Runner() as runner:
        held = runner.run(asyncpg.connect(place.dsn))
        runner.run(held.execute("BEGIN ISOLATION LEVEL REPEATABLE READ"))
        runner.run(held.fetchval("SELECT count(*) FROM pg_class"))
        server().run(f"SET search_path = {SCHEMA}", BURY, "DELETE FROM leases", "VACUUM ANALYZE", database=SCHEMA)
        yield place
        runner.run(held.close())


@pytest.fixture
async def connection(buried: Place) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(buried.dsn)
    for name, value in manners(buried).items():
        await connection.execute(f"SET {name} = {value}")
    try:
        yield connection
    finally:
        await connection.close()


def walks(plan: dict[str, Any]) -> list[str]:
    """Nodes that read more of the leases than a key names."""
    found: list[str] = []
    for node, _ in nodes(plan):
        index = str(node.get("Index Name", ""))
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "leases":
            found.append("a scan of leases")
        if node["Node Type"] in WALKS and index.startswith("leases_") and "Index Cond" not in node:
            found.append(f"a walk through the whole of {index}")
    return found


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_dead_leases_are_not_walked_through(connection: Any, mode: str) -> None:
    sql = statements()
    plans = {name: walks(await planned(connection, sql[name].rstrip("; \n"), HOT[name], mode)) for name in BY_KEYS}
    assert {"begin.insert", "apply.states", "claim.look", "change.look", "read.jobs"} <= plans.keys()
    assert {name: found for name, found in plans.items() if found} == {}


@pytest.mark.parametrize("name", PAGES)
async def test_pages_of_jobs_pass_dead_leases_over(connection: Any, name: str) -> None:
    sql, bindings = statement(QUERIES[name])
    [row] = await connection.fetch("EXPLAIN (FORMAT JSON) " + sql, *bindings)
    assert walks(json.loads(row[0])[0]["Plan"]) == []


async def test_a_join_walks_through_them_and_would_be_found(connection: Any) -> None:
    sql = "SELECT l.fence FROM unnest($1::text[]) AS q (id) JOIN leases l ON l.job_id = q.id"
    assert walks(await planned(connection, sql, (IDS,), "force_custom_plan")) != []
