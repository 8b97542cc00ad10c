"""Steps that chunk texts, leave out doubles, and index embeddings."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.connectors.vectors import open_index
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import StepOutput
from tests.integration.connectors.table_house import TableHouse, table_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TableHouse]:
    async with table_house(tmp_path) as opened:
        yield opened


async def _load(house: TableHouse, lines: str) -> dict[str, StepOutput]:
    house.file("in.jsonl", lines)
    return {"load": (await house.run("read", path="in.jsonl")).output}


async def test_chunks_keep_their_records_and_tell_where_they_stood(house: TableHouse) -> None:
    load = await _load(house, '{"id": 1, "body": "abcdef"}\n{"id": 2, "body": null}\n{"id": 3, "body": "👩🏽xy"}\n')
    done = await house.run("chunk", load, column="body", size=3, overlap=1)
    rows = await house.rows(done.output.table)
    found = [(row["id"], row["chunk"], row["chunk_start"], row["chunk_end"], row["body"]) for row in rows]
    assert found == [
        (1, 0, 0, 3, "abc"),
        (1, 1, 2, 5, "cde"),
        (1, 2, 4, 6, "ef"),
        (3, 0, 0, 3, "👩🏽x"),
        (3, 1, 2, 4, "xy"),
    ]


async def test_a_column_that_is_not_there_is_named_with_its_nearest(house: TableHouse) -> None:
    load = await _load(house, '{"id": 1, "body": "abcdef"}\n')
    with pytest.raises(RequestError, match=r"'bod'.*'body'"):
        await house.run("chunk", load, column="bod")
    with pytest.raises(RequestError, match="not text"):
        await house.run("chunk", load, column="id")


async def test_of_equal_records_the_first_or_the_last_stays(house: TableHouse) -> None:
    lines = '{"k": "a", "n": 1}\n{"k": null, "n": 2}\n{"k": "a", "n": 3}\n{"k": null, "n": 4}\n{"k": "b", "n": 1}\n'
    load = await _load(house, lines)
    for options, expected in (
        ({"by": ["k"]}, [1, 2, 1]),
        ({"by": "k", "keep": "last"}, [3, 4, 1]),
        ({"by": ["n"]}, [1, 2, 3, 4]),
        ({}, [1, 2, 3, 4, 1]),
    ):
        done = await house.run("dedupe", load, **options)
        assert [row["n"] for row in await house.rows(done.output.table)] == expected


async def test_an_index_has_the_records_with_an_embedding_and_the_others_are_rejected(house: TableHouse) -> None:
    lines = (
        '{"id": "a", "text": "x", "n": 1, "output": [1, 0.0]}\n{"id": "b", "text": "y", "n": 2, "output": null}\n'
        '{"id": "c", "text": "z", "n": 3, "output": [0, 1.5]}\n'
    )
    load = await _load(house, lines)
    work = house.work("index", load, path="all.index", metadata=["n"], model="m")
    before = await house.tables.fingerprint(work)
    done = await house.tables.run(work)
    assert (done.counts.succeeded, done.counts.failed) == (2, 1)
    assert [row["id"] for row in await house.rows(done.output.rejected)] == ["b"]
    assert await house.tables.fingerprint(work) != before
    index = open_index("all.index", folder=house.folder)
    found = await index.search([0.1, 1], k=1)
    await index.close()
    assert [(one.id, one.text, bytes(one.metadata)) for one in found] == [("c", "z", b'{"n":3}')]


async def test_an_index_without_one_embedding_fails_and_the_old_one_stays(house: TableHouse) -> None:
    load = await _load(house, '{"id": "a", "output": [1, 0]}\n')
    await house.run("index", load, path="all.index")
    before = (house.folder / "all.index").read_bytes()
    twice = await _load(house, '{"id": "a", "output": [1, 0]}\n{"id": "a", "output": [0, 1]}\n')
    with pytest.raises(RequestError):
        await house.run("index", twice, path="all.index")
    assert (house.folder / "all.index").read_bytes() == before
