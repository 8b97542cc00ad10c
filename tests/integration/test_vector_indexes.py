"""Vector indexes: one layout and one meaning, whatever database keeps it."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import duckdb
import msgspec
import pytest

from forebay.connectors.vectors import open_index
from forebay.domain.errors import ConfigurationError, RequestError, TargetRejected, TargetUnavailable
from forebay.domain.vectors import VectorRow
from forebay.policy.vector_filter import read_filter
from forebay.ports import VectorIndex
from forebay.testing.ports import free_port
from tests.integration.postgres_house import server

ROWS = [
    VectorRow(
        id="a", vector=[1, 0], text="A", metadata={"lang": "de", "year": 2020, "tags": ["x", "y"], "o": {"p": True}}
    ),
    VectorRow(id="b", vector="[0.6, 0.8]", metadata={"lang": "en", "n": None, "year": 2024.5}),
    VectorRow(id="c", vector=[-1, 0], text="C", metadata={"lang": "fr", "year": "2020", "day": "2026-02-01"}),
    VectorRow(id="zero", vector=[0, 0]),
]


@pytest.fixture(params=["duckdb", "postgresql"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VectorIndex]:
    if request.param == "duckdb":
        opened = open_index(tmp_path / "it's an index.duckdb")
    else:
        url = server().url()
        connection = await asyncpg.connect(url)
        await connection.execute("DROP TABLE IF EXISTS documents")
        await connection.close()
        opened = open_index(url)
    yield opened
    await opened.close()


async def found(index: VectorIndex, asked: Any = None, k: int = 10) -> list[str]:
    return [one.id for one in await index.search([1, 0], k=k, conditions=read_filter(asked))]


async def test_the_nearest_come_first_with_what_was_written_of_them(index: VectorIndex) -> None:
    facts = await index.replace(iter(ROWS), model="m")
    assert (facts.rows, facts.dimensions, facts.model) == (4, 2, "m")
    assert await index.facts() == facts
    first, second, last = await index.search([2, 0], k=10)
    assert (first.id, first.text, msgspec.json.decode(first.metadata)) == ("a", "A", ROWS[0].metadata)
    assert [one.score for one in (first, second, last)] == pytest.approx([1, 0.6, -1])
    assert (second.id, second.text) == ("b", None)


async def test_no_more_are_found_than_were_asked_for_and_equally_near_ones_come_by_id(index: VectorIndex) -> None:
    await index.replace(VectorRow(id=name, vector=[3, 4]) for name in ("d", "B", "a", "c"))
    assert await found(index, k=3) == ["B", "a", "c"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"lang": "de"}, "a"),
        ({"lang": ["de", "fr"]}, "ac"),
        ({"lang": {"not": "de"}}, "bc"),
        ({"lang": {"not": ["de", "fr"]}}, "b"),
        ({"year": 2020}, "a"),
        ({"year": "2020"}, "c"),
        ({"year": {"gte": 2020, "lt": 2025}}, "ab"),
        ({"year": {"gt": 2020, "lte": 2024.5}}, "b"),
        ({"day": {"gte": "2026-01-31", "lt": "2026-03-01"}}, "c"),
        ({"tags": "y"}, "a"),
        ({"tags": {"not": "y"}}, "bc"),
        ({"o.p": True}, "a"),
        ({"o.p": False}, ""),
        ({"n": None}, "b"),
        ({"n": {"exists": True}}, "b"),
        ({"n": {"exists": False}}, "ac"),
        ({"lang": "de", "year": 2024.5}, ""),
        ({"lang": "x' OR '1'='1"}, ""),
        ({'it\'s ~ odd/"name"': 1}, ""),
    ],
)
async def test_the_filter_holds_for_every_match(index: VectorIndex, asked: Any, expected: str) -> None:
    await index.replace(ROWS)
    assert "".join(await found(index, asked)) == expected


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [VectorRow(id="a", vector=[1]), VectorRow(id="a", vector=[2])],
        [VectorRow(id="a", vector=[1]), VectorRow(id="b", vector=[2, 3])],
        [VectorRow(id="a", vector=[1]), VectorRow(id="b", vector=[float("nan")])],
        [VectorRow(id="a", vector="{}")],
        [VectorRow(id="a", vector=[1]), VectorRow(id="b", vector='["x"]')],
        [VectorRow(id="", vector=[1])],
        [VectorRow(id="a", vector=[1], metadata={"x": object()})],
    ],
)
async def test_what_can_not_be_an_index_is_refused_and_the_old_one_stays(index: VectorIndex, rows: Any) -> None:
    await index.replace(ROWS)
    with pytest.raises(RequestError):
        await index.replace(rows)
    assert await found(index) == ["a", "b", "c"]


async def test_a_search_sees_the_old_index_until_the_new_one_is_whole(index: VectorIndex) -> None:
    await index.replace(ROWS)
    begun, go_on = threading.Event(), threading.Event()

    def rows() -> Iterator[VectorRow]:
        for place in range(3000):
            if place == 2500:
                begun.set()
                go_on.wait(60)
            yield VectorRow(id=f"n{place:04}", vector=[1, place])

    writing = asyncio.create_task(index.replace(rows()))
    assert await asyncio.to_thread(begun.wait, 60)
    assert await found(index, k=2) == ["a", "b"]
    go_on.set()
    assert (await writing).rows == 3000
    assert await found(index, k=2) == ["n0000", "n0001"]


async def test_a_source_that_breaks_off_leaves_the_old_index_and_nothing_beside_it(
    index: VectorIndex, tmp_path: Path
) -> None:
    await index.replace(ROWS)
    before = sorted(os.listdir(tmp_path))

    def rows() -> Iterator[VectorRow]:
        yield VectorRow(id="n", vector=[1])
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        await index.replace(rows())
    assert await found(index) == ["a", "b", "c"]
    assert sorted(os.listdir(tmp_path)) == before


async def test_a_writing_that_is_given_up_leaves_the_old_index(index: VectorIndex, tmp_path: Path) -> None:
    await index.replace(ROWS)
    before = sorted(os.listdir(tmp_path))
    begun, go_on = threading.Event(), threading.Event()

    def rows() -> Iterator[VectorRow]:
        yield VectorRow(id="n", vector=[1])
        begun.set()
        go_on.wait(60)
        yield VectorRow(id="o", vector=[1])

    writing = asyncio.create_task(index.replace(rows()))
    assert await asyncio.to_thread(begun.wait, 60)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    go_on.set()
    while sorted(os.listdir(tmp_path)) != before:
        await asyncio.sleep(0.01)
    assert await found(index) == ["a", "b", "c"]


async def test_a_vector_of_another_length_and_a_missing_index_are_told(index: VectorIndex) -> None:
    with pytest.raises(TargetRejected, match=r"no such table|does not exist"):
        await index.search([1, 0], k=1)
    await index.replace(ROWS)
    with pytest.raises(TargetRejected, match="3 numbers, those of the index 2"):
        await index.search([1, 0, 0], k=1)


async def test_a_file_that_is_no_index_is_told(tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE documents (id INTEGER)")
    index = open_index("other.duckdb", folder=tmp_path)
    with pytest.raises(TargetRejected, match="no vector index"):
        await index.facts()
    await index.close()


async def test_a_database_that_is_away_is_unavailable_and_its_password_is_in_no_message() -> None:
    index = open_index(f"postgresql://someone:hunter2@127.0.0.1:{free_port()}/nowhere")
    with pytest.raises(TargetUnavailable) as caught:
        await index.facts()
    assert "hunter2" not in str(caught.value)
    await index.close()


@pytest.mark.parametrize(
    ("place", "table"),
    [
        ("s3://bucket/x", None),
        ("postgresql://u@h/d", "a; drop"),
        ("postgresql://u@h/d", 'a"b'),
        ("a.db", "t"),
        ("", None),
    ],
)
def test_what_is_no_place_of_an_index_is_refused(place: str, table: str | None) -> None:
    with pytest.raises(ConfigurationError):
        open_index(place, table=table)
