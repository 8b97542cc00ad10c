"""Files as people have them: odd newlines, encodings, names, numbers, depths."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.errors import RequestError
from tests.integration.connectors.table_house import TableHouse, table_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TableHouse]:
    async with table_house(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"id,text\n1,\xc3\xbc\r\n2,b\n", {}),
        (b"id,text\r\n1,\xc3\xbc\n2,b\r\n", {}),
        (b"id,text\r1,\xc3\xbc\r2,b\r", {}),
        (b"\xef\xbb\xbfid;text\n1;\xc3\xbc\n2;b\n", {}),
        (b"id|text\n'1'|'\xfc'\n2|b", {"encoding": "latin-1", "quote": "'"}),
        ("id\ttext\n1\tü\n2\tb\n".encode("utf-16"), {"encoding": "utf-16"}),
    ],
)
async def test_csv_is_read_whatever_wrote_it(house: TableHouse, data: bytes, options: dict[str, Any]) -> None:
    house.file("in.csv", data)
    load = await house.run("read", path="in.csv", **options)
    assert await house.rows(load.output.table) == [{"id": "1", "text": "ü"}, {"id": "2", "text": "b"}]


@pytest.mark.parametrize(("data", "told"), [(b"", "is empty"), (b"a,A\n1,2\n", "two columns")])
async def test_csv_without_a_header_to_tell_columns_by_is_refused(house: TableHouse, data: bytes, told: str) -> None:
    house.file("in.csv", data)
    with pytest.raises(RequestError, match=told):
        await house.run("read", path="in.csv")


async def test_types_that_are_none_are_refused(house: TableHouse) -> None:
    house.file("in.csv", "a\n1\n")
    for kind in ("NOTYPE", "INTEGER); SELECT (1", "INTEGER AS b, 1"):
        with pytest.raises(RequestError):
            await house.run("read", path="in.csv", columns={"a": kind})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('{"a": 18446744073709551615}\n{"a": 1}', [{"a": 18446744073709551615}, {"a": 1}]),
        ('{"a": 1}\n{"a": "x"}\n{"a": [1]}', [{"a": 1}, {"a": "x"}, {"a": [1]}]),
        ('{"a": 1, "A": "x", "": 3}', [{"a": 1, "A_": "x", "column": 3}]),
        ('{"s": {"b": 1, "B": 2}}', [{"s": {"b": 1, "B": 2}}]),
        ("{}\n{}", [{"nothing": None}, {"nothing": None}]),
        ('{"d": "2026-01-01", "t": "12"}', [{"d": "2026-01-01", "t": "12"}]),
    ],
)
async def test_json_lines_keep_their_values(house: TableHouse, lines: str, expected: list[dict[str, Any]]) -> None:
    house.file("in.jsonl", lines)
    assert await house.rows((await house.run("read", path="in.jsonl")).output.table) == expected


async def test_a_line_that_is_nested_too_deep_is_rejected_alone(house: TableHouse) -> None:
    house.file("in.jsonl", '{"a": 1}\n{"a": ' + "[" * 300 + "]" * 300 + "}\n")
    load = await house.run("read", path="in.jsonl")
    assert (load.counts.succeeded, load.counts.failed) == (1, 1)


async def test_sums_stay_integers_and_numbers_that_are_none_become_null(house: TableHouse) -> None:
    query = (
        "SELECT sum(range) AS n, sum(range::HUGEINT * 10000000000000000000000) AS wide, 'nan'::DOUBLE AS f,"
        " ['inf'::DOUBLE, 1] AS l FROM range(4)"
    )
    made = await house.run("sql", query=query)
    assert await house.rows(made.output.table) == [{"n": 6, "wide": 6e22, "f": None, "l": [None, 1.0]}]
    await house.run("write", {"made": made.output}, path="out.jsonl")
    again = await house.run("read", path="out.jsonl")
    assert (again.counts.succeeded, again.counts.failed) == (1, 0)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT nope FROM load", "nope"),
        ("CREATE TABLE x AS SELECT 1", "must be a SELECT"),
        ("SELECT 1; SELECT 2", "2 of them"),
        ("SELECT *\nFROM load\nWHERE id = = 3", "line 3, column 12"),
        ("SELECT $other.x", r"\$other"),
        ("SELECT * FROM other.load", "other.load"),
        ("PIVOT load ON id", "PIVOT"),
    ],
)
async def test_what_is_wrong_in_a_query_is_told(house: TableHouse, query: str, told: str) -> None:
    house.file("in.csv", "id\n1\n")
    load = await house.run("read", path="in.csv")
    with pytest.raises(RequestError, match=told):
        await house.run("sql", {"load": load.output}, query=query)


async def test_a_line_that_is_too_long_is_rejected_alone(house: TableHouse) -> None:
    house.file("in.jsonl", '{"a": "' + "x" * 40_000_000 + '"}\n{"a": "y"}\n')
    load = await house.run("read", path="in.jsonl")
    assert await house.rows(load.output.table) == [{"a": "y"}]
    assert (load.counts.succeeded, load.counts.failed) == (1, 1)


async def test_large_records_need_no_more_memory_than_small_ones(house: TableHouse) -> None:
    text = "lorem ipsum " * 50_000
    house.file("in.jsonl", "".join(f'{{"id": {i}, "text": "{i} {text}"}}\n' for i in range(600)))
    load = await house.run("read", path="in.jsonl")
    made = await house.run("sql", {"load": load.output}, query="SELECT id, upper(text) AS text FROM load")
    for output in (load.output, made.output):
        done = await house.run("sql", {"t": output}, query="SELECT list(id) AS ids FROM t")
        assert await house.rows(done.output.table) == [{"ids": list(range(600))}]
