"""Data sources as branches of a fan-out, from the configuration to the aggregate."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from forebay.app import System, open_system
from forebay.connectors.vectors import open_index
from forebay.domain.errors import ConfigurationError
from forebay.domain.fanout import Branch, FanoutArgs
from forebay.domain.job import Job, Status
from forebay.domain.order import Order
from forebay.domain.query import JobQuery, Parts
from forebay.domain.vectors import VectorRow
from forebay.engine.fanouts import make_fanout
from forebay.engine.intake import make_job
from forebay.settings.load import load_settings, redacted
from forebay.testing.mock_model import MockModel, MockOptions

SETTINGS = """
targets:
  embedder: {type: openai, base_url: "URL", models: [embed-model], prices: {input: 1, output: 1}}
  orders:
    type: sql
    url: sqlite:///shop.db
    query: SELECT id, total FROM orders WHERE customer = :customer ORDER BY id
    max_rows: 2
  any: {type: sql, url: "sqlite:///shop.db", query: "SELECT :query AS said", timeout: 5s}
  free: {type: sql, url: "sqlite:///shop.db", allow_query: true}
  docs: {type: search, index: docs.duckdb, embedder: embedder, k: 2, filter: {lang: en}}
  vectors: {type: search, index: docs.duckdb}
"""
TEXTS = {"lamps": "en", "desks": "en", "chairs": "en", "Lampen": "de"}


@asynccontextmanager
async def house(folder: Path, **options: Any) -> AsyncIterator[System]:
    """A system with a shop's database, and an index of texts that the mock model embedded."""
    with apsw.Connection(str(folder / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER, customer TEXT, total REAL)")
        database.execute("INSERT INTO orders VALUES (1, 'ann', 5), (2, 'ann', 7.5), (3, 'ann', 9), (4, 'bob', 1)")
    async with MockModel(MockOptions(**options)) as mock:
        (folder / "forebay.yaml").write_text(SETTINGS.replace("URL", mock.base_url))
        async with open_system(load_settings(folder / "forebay.yaml", {})) as system, system.worker():
            yield system


async def embedded(system: System, text: str) -> list[float]:
    body = json.dumps({"model": "embed-model", "input": text, "encoding_format": "float"})
    job = await ended(system, Order(body=body, target="embedder", endpoint="/v1/embeddings"))
    vector: list[float] = told(job)["data"][0]["embedding"]
    return vector


async def indexed(system: System, folder: Path) -> None:
    index = open_index(folder / "docs.duckdb")
    rows = [
        VectorRow(id=text, vector=await embedded(system, text), text=text, metadata={"lang": lang})
        for text, lang in TEXTS.items()
    ]
    await index.replace(rows, model="embed-model")
    await index.close()


async def ended(system: System, order: Order) -> Job:
    make = make_fanout if order.fanout else make_job
    [added] = await system.services.jobs.add([await make(order, system.services)])
    watch = system.services.jobs.watch([f"job:{added.id}"])
    try:
        while True:
            [job] = await system.services.jobs.get(None, [added.id], Parts(result=True))
            assert job is not None
            if job.is_terminal:
                return job
            await watch.next(1.0)
    finally:
        watch.close()


def told(job: Job) -> Any:
    assert job.result is not None, job.error
    return json.loads(job.result.body.text or "")


async def asked(system: System, target: str, **body: Any) -> Job:
    return await ended(system, Order(body=json.dumps(body), target=target))


async def test_databases_and_indexes_answer_beside_each_other_in_a_fan_out(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        await indexed(system, tmp_path)
        branches = (
            Branch(name="orders", target="orders", body={"params": {"customer": "{who}"}}),
            Branch(name="docs", target="docs", body={"query": "{what}"}),
        )
        body = json.dumps({"who": "ann", "what": "desks"})
        job = await ended(system, Order(body=body, fanout=FanoutArgs(branches=branches)))
        answers = told(job)["body"]
        assert answers["orders"]["body"] == {
            "columns": ["id", "total"],
            "rows": [{"id": 1, "total": 5.0}, {"id": 2, "total": 7.5}],
            "row_count": 2,
            "truncated": True,
        }
        matches = answers["docs"]["body"]["matches"]
        assert matches[0]["id"] == "desks"
        assert len(matches) == 2
        assert matches[0]["score"] == pytest.approx(1, abs=1e-5)
        assert (matches[0]["text"], matches[0]["metadata"]) == ("desks", {"lang": "en"})
        assert "Lampen" not in {one["id"] for one in matches}


async def test_the_embedding_of_a_searched_text_is_a_job_of_its_own_and_paid_by_the_search(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        await indexed(system, tmp_path)
        job = await ended(system, Order(body='{"query": "lamps"}', target="docs", budget_usd=1))
        [child] = await system.services.jobs.find(JobQuery(tenant="default", parent_id=job.id))
        assert (child.spec.target, child.spec.endpoint) == ("embedder", "/v1/embeddings")
        assert child.usage is not None
        assert job.usage == child.usage
        assert job.cost_usd == child.cost_usd
        assert job.cost_usd


async def test_a_vector_is_searched_for_as_it_is(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        await indexed(system, tmp_path)
        vector = await embedded(system, "Lampen")
        job = await asked(system, "vectors", vector=vector, k=1, filter={"lang": "de"})
        assert [one["id"] for one in told(job)["matches"]] == ["Lampen"]
        assert job.cost_usd == 0


async def test_an_embedder_that_fails_is_told(tmp_path: Path) -> None:
    async with house(tmp_path, api_key="another") as system:
        job = await asked(system, "docs", query="lamps")
        assert (job.status, job.error and job.error.code) == (Status.FAILED, "target_rejected")
        assert "the embedder 'embedder' failed" in (job.error.message if job.error else "")


@pytest.mark.parametrize(
    ("target", "body", "reason"),
    [
        ("orders", {}, "'customer' is missing"),
        ("orders", {"params": {"customer": "ann", "x": 1}}, "no parameter 'x'"),
        ("orders", {"customer": "ann", "query": "SELECT 1"}, "allow_query"),
        ("free", {}, "no query"),
        ("free", {"query": "DELETE FROM orders"}, "one SELECT can be asked"),
        ("free", {"query": 1}, "one statement of SQL"),
        ("vectors", {"query": "x"}, "no embedder"),
        ("vectors", {}, "either a `query` or a `vector`"),
        ("vectors", {"vector": [0, 0]}, "all zeros"),
        ("vectors", {"vector": ["x"]}, "numbers"),
        ("vectors", {"vector": [1], "k": 1001}, "k: a whole number"),
        ("vectors", {"vector": [1], "filters": {}}, "did you mean 'filter'"),
        ("vectors", {"vector": [1]}, "does not exist"),
    ],
)
async def test_a_request_that_can_not_be_answered_ends_at_once_and_says_why(
    tmp_path: Path, target: str, body: dict[str, Any], reason: str
) -> None:
    async with house(tmp_path) as system:
        job = await asked(system, target, **body)
        assert job.error is not None
        assert (job.status, job.error.code, job.attempt_count) == (Status.FAILED, "target_rejected", 1)
        assert reason in job.error.message


async def test_a_query_of_the_request_is_asked_where_the_target_allows_it(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        query = "SELECT count(*) AS n FROM orders WHERE total > :least"
        job = await asked(system, "free", query=query, params={"least": 6})
        assert told(job)["rows"] == [{"n": 2}]
        job = await asked(system, "any", query="a parameter of that name")
        assert told(job)["rows"] == [{"said": "a parameter of that name"}]


async def test_a_statement_that_takes_too_long_is_a_timeout(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        order = Order(body=json.dumps({"query": endless}), target="free", timeout_seconds=0.2, max_attempts=1)
        job = await asyncio.wait_for(ended(system, order), 120)
        assert (job.error and job.error.code) == "target_timeout"


async def test_targets_are_checked_by_what_they_have(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        await indexed(system, tmp_path)
        assert await system.services.targets["orders"].check() == "orders: the file can be read"
        assert await system.services.targets["docs"].check() == "docs: 4 rows of 8 dimensions"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{type: sql, url: 'sqlite:///a.db'}", "needs query, or allow_query"),
        ("{type: sql, url: 'mysql://h/d', query: SELECT 1}", "must be sqlite:///FILE"),
        ("{type: sql, query: SELECT 1}", "needs url"),
        ("{type: sql, url: 'sqlite:///a.db', query: 'SELECT 1; SELECT 2'}", "one statement, not several"),
        ("{type: sql, url: 'sqlite:///a.db', query: SELECT 1, max_rows: 1000000}", "at most 100000"),
        ("{type: sql, url: 'sqlite:///a.db', query: SELECT 1, api_key: k}", "has no api_key"),
        ("{type: search}", "needs index"),
        ("{type: search, index: 's3://b/x'}", "must be a path"),
        ("{type: search, index: a.duckdb, embedder: nobody}", "there is no target 'nobody'"),
        ("{type: search, index: a.duckdb, filter: {year: {above: 3}}}", "no comparison"),
        ("{type: search, index: a.duckdb, k: 5000}", "at most 1000"),
        ("{type: python, function: 'a:b', query: SELECT 1}", "has no query"),
    ],
)
def test_a_declaration_that_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text(f"targets:\n  it: {text}\n")
    with pytest.raises(ConfigurationError, match=problem) as caught:
        load_settings(file, {})
    assert f"{file}, line 2:" in str(caught.value)


def test_passwords_of_addresses_are_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text(
        "targets:\n  a: {type: sql, url: 'postgresql://u:hunter2@h/d', query: SELECT 1}\n"
        "  b: {type: search, index: 'postgresql://u:hunter2@h/d'}\n"
    )
    settings = load_settings(file, {})
    assert "hunter2" not in str(redacted(settings))
    assert "hunter2" not in repr(settings)
