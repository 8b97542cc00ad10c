"""The plans of the hot statements on 300,000 analysed rows: by indexes, and without sorting a table.

Each is planned as PostgreSQL plans a statement it knows the values of, and as one it has prepared for all values: it
goes over to the second by itself. Without rows and ANALYZE every plan looks well.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from forebay.domain.job import Status
from forebay.domain.query import JobQuery
from forebay.stores.postgres import Place, migrate, read_place
from forebay.stores.postgres.find import statement
from forebay.stores.postgres.link import manners
from forebay.stores.postgres.statements import statements
from tests.integration.postgres_house import server

ROWS = 300_000
MOST_SORTED = 10_000  # rows: of a claim, a page, a group's dead as a sample estimates them (2,000); never of a table
SMALL = frozenset({"workers", "leases", "ranks", "limits", "budgets", "lessons", "meta"})  # leases: what is in flight
SCHEMA = "plans"

# 180,000 wait in `ready`, 30,000 in `later`, 2,000 run; 40,000 are a batch's children, the others have ended.
FILL = f"""
INSERT INTO jobs (id, tenant, parent_id, key, kind, queue, origin, is_group, urgency, cost, created_at, deadline,
                  due_at, rank, fixed, notices, status, finished_at)
SELECT 'job_' || lpad(n::text, 8, '0'), 'default', CASE WHEN n % 15 < 2 THEN 'batch' ELSE '' END,
       CASE WHEN n % 15 < 2 THEN n::text ELSE '' END, 'infer', 'q' || n % 7, '', false, 0, 100, n, 2e9 + n, n,
       n, '{{}}', 0,
       CASE WHEN n % 10 < 7 THEN 'queued' WHEN n % 10 = 7 THEN 'failed' ELSE 'succeeded' END,
       CASE WHEN n % 10 < 7 THEN NULL ELSE n END
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO jobs (id, tenant, parent_id, key, kind, queue, origin, is_group, urgency, cost, created_at, deadline,
                  due_at, fixed, notices, status, join_live, join_until)
SELECT CASE WHEN n = 0 THEN 'batch' ELSE 'group_' || n END, 'default', '', '', 'batch', 'control', '', true, 0, 1, 1,
       3e9, 1, '{{}}', 0, 'waiting', 0, CASE WHEN n % 2 = 0 THEN 1e9 + n END FROM generate_series(0, 2000) AS n;
INSERT INTO ready SELECT queue, false, urgency, rank, id, deadline, created_at FROM jobs
  WHERE status = 'queued' AND id NOT LIKE '%00';
INSERT INTO later SELECT due_at, id, queue, created_at FROM jobs WHERE status = 'queued' AND id LIKE '%5';
INSERT INTO leases (job_id, lane, worker_id, epoch, is_alone, claimed_at)
SELECT id, 'lane' || (rank::bigint % 3), 'w', 0, false, 1 FROM jobs WHERE status = 'queued' AND id LIKE '%00';
INSERT INTO bodies SELECT id, '{{}}', NULL, 2 FROM jobs WHERE rank::bigint % 3 = 0;
INSERT INTO results SELECT id, 200, '{{}}', NULL, 2, NULL FROM jobs WHERE status = 'succeeded';
INSERT INTO attempts SELECT id, 1, rank, 't', 1, NULL, 'succeeded' FROM jobs WHERE rank::bigint % 2 = 0;
INSERT INTO blob_refs SELECT id, 'body', 'blob_' || id FROM jobs WHERE rank::bigint % 5 = 0;
INSERT INTO chunks SELECT id, 0, 'x' FROM jobs WHERE rank::bigint % 5 = 1;
ANALYZE;
"""

IDS = "ARRAY(SELECT 'job_' || lpad(n::text, 8, '0') FROM generate_series(1000, 1099) AS n)"
FENCES = "ARRAY(SELECT n::bigint FROM generate_series(1, 100) AS n)"
ONES = "ARRAY(SELECT 1::bigint FROM generate_series(1, 100) AS n)"
REALS = "ARRAY(SELECT 1.0::float8 FROM generate_series(1, 100) AS n)"
TEXTS = "ARRAY(SELECT 'q1'::text FROM generate_series(1, 100) AS n)"
FALSES = "ARRAY(SELECT false FROM generate_series(1, 100) AS n)"
NOTHING = "ARRAY(SELECT NULL::text FROM generate_series(1, 100) AS n)"
NUMBERS_NULL = "ARRAY(SELECT NULL::bigint FROM generate_series(1, 100) AS n)"
REALS_NULL = "ARRAY(SELECT NULL::float8 FROM generate_series(1, 100) AS n)"

HOT: dict[str, tuple[str, ...]] = {
    "add.existing": (ONES, IDS, TEXTS, NOTHING, TEXTS),
    "add.parents": (IDS,),
    "apply.states": (FENCES, IDS),
    "apply.complete": (IDS, ONES, FENCES, TEXTS, REALS, ONES, TEXTS, REALS, TEXTS, REALS, TEXTS),
    "apply.update": (
        *(IDS, TEXTS, REALS_NULL, REALS, REALS, ONES, NOTHING, FALSES, NOTHING, NOTHING),
        *(NUMBERS_NULL, NUMBERS_NULL, NUMBERS_NULL, NUMBERS_NULL, REALS_NULL),
    ),
    "apply.end_leases": (FENCES,),
    "apply.drop_results": (IDS,),
    "apply.drop_result_refs": (IDS,),
    "apply.takeable": (IDS, "'batch'"),
    "apply.collect": (IDS,),
    "begin.insert": (IDS, ONES, FENCES, TEXTS, REALS, TEXTS),
    "change.lock": (IDS,),
    "change.look": (IDS, "'default'"),
    "change.ahead": (IDS, "'default'", "1e9"),
    "change.dead_children": ("'batch'",),
    "change.append": (TEXTS, "'job_00001000'", "NULL::bigint"),
    "claim.look": (
        "ARRAY['q1','q2']::text[]",
        "ARRAY['lane1',NULL]::text[]",
        "ARRAY[100,100]::bigint[]",
        "false",
        "'w'",
        "5.0",
        "ARRAY['q1','q1','q2']::text[]",
        *("ARRAY[-10,0,-10]::bigint[]", "ARRAY[0,500,0]::float8[]", "ARRAY['','job_0','']::text[]"),
        *("ARRAY[0,10,10]::bigint[]", "ARRAY[0,500]::bigint[]"),
    ),
    "claim.late": ("'q1'", "false", "100", "5.0"),
    "claim.take": (
        *("'q1'", "false", "100", "5.0", "ARRAY[-10,0]::bigint[]", "ARRAY[0,500]::float8[]"),
        *("ARRAY['','job_0']::text[]", "ARRAY[0,10]::bigint[]"),
    ),
    "claim.read": (IDS, "5.0"),
    "delete.below": (IDS, "100"),
    "delete.jobs": (IDS,),
    "delete.bodies": (IDS,),
    "delete.attempts": (IDS,),
    "delete.chunks": (IDS,),
    "delete.refs": (IDS,),
    "end.live_children": ("ARRAY['batch']::text[]",),
    "end.end_leaves": (IDS, TEXTS, TEXTS, TEXTS, "5.0"),
    "end.free": (IDS,),
    "prune.ended": ("5.0", "100"),
    "read.backlog": ("'default'", "100"),
    "read.jobs": (IDS, "NULL"),
    "read.bodies": (IDS,),
    "read.results": (IDS,),
    "read.attempts": (IDS,),
    "read.chunks": ("'job_00001000'", "0", "100"),
    "read.orphans": (IDS,),
    "read.watched": (IDS,),
    "read.claimable": (TEXTS,),
    "ready.places": (IDS,),
    "ready.set_ranks": (IDS, REALS, "ARRAY(SELECT 0::bigint FROM generate_series(1, 100) AS n)"),
    "ready.leave_ready": (IDS,),
    "ready.leave_later": (IDS,),
    "ready.take_due": ("5.0", "100"),
    "recover.late_leaves": ("5.0", "100"),
    "recover.late_groups": ("5.0", "100"),
    "recover.timed_joins": ("5.0", "100"),
    "recover.waiting": ("''", "100"),
    "recover.suspects": (),
    "rescue.look": (FENCES,),
    "rescue.count": (IDS, REALS, ONES, ONES, "5.0"),
    "settle.joins": ("ARRAY['batch']::text[]",),
    "settle.count_live": ("'batch'", "100"),
    "settle.count_succeeded": ("'batch'", "100"),
    "settle.wake": ("ARRAY['batch']::text[]", "ARRAY['1']::text[]", "5.0"),
}
QUERIES = {
    "roots": JobQuery(tenant="default"),
    "roots after one": JobQuery(tenant="default", after="job_00200000"),
    "roots that ended": JobQuery(tenant="default", statuses=frozenset({Status.SUCCEEDED})),
    "dead letters": JobQuery(tenant="default", statuses=frozenset({Status.FAILED, Status.CANCELLED})),
    "batches": JobQuery(tenant="default", kinds=frozenset({"batch"})),
    "children by key": JobQuery(tenant="default", parent_id="batch", is_ascending=True),
    "running": JobQuery(tenant="default", statuses=frozenset({Status.RUNNING})),
    "everything by id": JobQuery(tenant=None, parent_id=None, is_ascending=True),
}


@pytest.fixture(scope="module")
def filled() -> Place:
    """The place of the filled store."""
    place = read_place(f"{server().make_database(SCHEMA)}?schema={SCHEMA}")
    asyncio.run(migrate(place))
    server().run(f"SET search_path = {SCHEMA}", FILL, database=SCHEMA)
    return place


@pytest.fixture
async def connection(filled: Place) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(filled.dsn)
    for name, value in manners(filled).items():
        await connection.execute(f"SET {name} = {value}")
    try:
        yield connection
    finally:
        await connection.close()


def nodes(plan: dict[str, Any], *, is_cut: bool = False) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each node, and whether a LIMIT above it, with nothing between that needs all rows, ends it early."""
    yield plan, is_cut
    kind = plan["Node Type"]
    is_cut = kind == "Limit" or (is_cut and kind not in ("Sort", "Aggregate", "Hash"))
    for below in plan.get("Plans", []):
        yield from nodes(below, is_cut=is_cut)


def faults(plan: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for node, is_cut in nodes(plan):
        kind, table = node["Node Type"], node.get("Relation Name")
        if kind == "Seq Scan" and table not in SMALL:
            found.append(f"a scan of {table}")
        if kind in ("Index Scan", "Index Only Scan") and table not in SMALL and not is_cut and "Index Cond" not in node:
            found.append(f"a walk through the whole of {node['Index Name']}")
        if kind == "Sort" and node["Plan Rows"] > MOST_SORTED:
            found.append(f"a sort of {node['Plan Rows']} rows")
    return found


async def explain(connection: Any, sql: str, arguments: tuple[str, ...], mode: str) -> list[str]:
    return faults(await planned(connection, sql, arguments, mode))


async def planned(connection: Any, sql: str, arguments: tuple[str, ...], mode: str) -> dict[str, Any]:
    """The root of the plan."""
    await connection.execute(f"SET plan_cache_mode = {mode}")
    # values that are arrays are computed first: EXECUTE takes no subqueries
    values = [await connection.fetchval(f"SELECT quote_nullable(({one})::text)") for one in arguments]
    words = f"({', '.join(values)})" if values else ""
    await connection.execute("PREPARE hot AS " + sql)
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE hot{words}")
    await connection.execute("DEALLOCATE hot")
    root: dict[str, Any] = json.loads(plan)[0]["Plan"]
    return root


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_hot_statements_walk_indexes(connection: Any, mode: str) -> None:
    plans = {name: await explain(connection, statements()[name].rstrip("; \n"), HOT[name], mode) for name in HOT}
    assert {name: found for name, found in plans.items() if found} == {}


@pytest.mark.parametrize("name", QUERIES)
async def test_pages_of_jobs_walk_indexes(connection: Any, name: str) -> None:
    sql, bindings = statement(QUERIES[name])
    [row] = await connection.fetch("EXPLAIN (FORMAT JSON) " + sql, *bindings)
    assert faults(json.loads(row[0])[0]["Plan"]) == []


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("SELECT * FROM jobs WHERE rank = $1::float8", "a scan of jobs"),
        ("SELECT * FROM ready WHERE rank > $1::float8 ORDER BY created_at", "a sort of"),
        ("SELECT sum(created_at) FROM ready HAVING sum(rank) > $1::float8", "ready"),
    ],
)
async def test_a_plan_that_scans_or_sorts_a_table_would_be_found(connection: Any, sql: str, fault: str) -> None:
    assert any(fault in found for found in await explain(connection, sql, ("5.0",), "force_custom_plan"))
