"""Pruning a large store in PostgreSQL: short steps of few statements, which no claim waits for, and no other pruner."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from forebay.domain.change import Want, Worker
from forebay.domain.ids import IdSource
from forebay.stores import postgres
from forebay.stores.postgres.link import Link
from forebay.stores.postgres.pruning import Pruning, prune
from forebay.stores.postgres.transaction import Session, Tx
from tests.integration.postgres_house import empty_place, server

ENDED, QUEUED, STEP = 10_000, 100, 1000
MOST_STATEMENTS = 15  # of a step, whatever it deletes
FILL = f"""
SET search_path = forebay;
INSERT INTO jobs (id, tenant, parent_id, key, kind, queue, origin, is_group, urgency, cost, created_at, deadline,
                  due_at, rank, fixed, notices, status, finished_at)
SELECT id, 'default', '', '', 'infer', 'target:m', '', false, 0, 100, n, 4e9, n, n, format(
  '{{"id":"%s","kind":"infer","queue":"target:m","created_at":1.0,"deadline":4e9}}', id), 0,
  CASE WHEN n <= {ENDED} THEN 'succeeded' ELSE 'queued' END, CASE WHEN n <= {ENDED} THEN n END
FROM (SELECT n, 'job_' || lpad(n::text, 26, '0') AS id FROM generate_series(1, {ENDED + QUEUED}) AS n) AS made;
INSERT INTO ready SELECT queue, false, urgency, rank, id, deadline, created_at FROM jobs WHERE status = 'queued';
INSERT INTO results SELECT id, 200, '"y"', NULL, 3, NULL FROM jobs WHERE status = 'succeeded';
ANALYZE;
"""
LEFT = "SELECT count(*) FROM forebay.jobs WHERE status = 'succeeded'"


@pytest.fixture
async def place() -> AsyncIterator[postgres.Place]:
    place = await empty_place(server().url())
    connection = await asyncpg.connect(place.dsn)
    await connection.execute(FILL)
    await connection.close()
    yield place
    await empty_place(server().url())


async def test_every_step_is_of_few_statements_and_the_last_says_so(
    place: postgres.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = 0
    text = Session.text

    async def counted(session: Session, sql: str, bindings: Sequence[object]) -> list[Any]:
        nonlocal statements
        statements += 1
        return await text(session, sql, bindings)

    monkeypatch.setattr(Session, "text", counted)
    store = await postgres.open_store(place)
    try:
        for _ in range(ENDED // STEP):
            statements = 0
            pruned = await store.jobs.prune(1e6, limit=STEP)
            assert (pruned.jobs, statements <= MOST_STATEMENTS) == (STEP, True), statements
        assert (await store.jobs.prune(1e6)).is_complete
    finally:
        await store.close()
    assert server().run(LEFT).strip() == "0"
    assert server().run("SELECT count(*) FROM forebay.results").strip() == "0"


async def test_neither_a_claim_nor_another_pruner_waits_for_a_step_that_is_under_way(place: postgres.Place) -> None:
    store = await postgres.open_store(place)
    link = Link(place, "test")
    worker = Worker(id="w", queues=("target:m",), lease_seconds=300.0)
    try:
        await store.jobs.renew(worker)
        async with link.transaction() as connection:
            tx = Tx(connection, 0.0, IdSource(), _never)
            assert (await prune(tx, Pruning(1e6, STEP))).jobs == STEP
            want = Want(queue="target:m", lane="m", slots=QUEUED)
            assert len(await store.jobs.claim(worker, [want])) == QUEUED
            assert (await store.jobs.prune(1e6, limit=STEP)).jobs == STEP
    finally:
        await link.close()
        await store.close()
    assert int(server().run(LEFT)) == ENDED - 2 * STEP


async def _never(name: str, items: object) -> list[Any]:
    raise AssertionError(name)
