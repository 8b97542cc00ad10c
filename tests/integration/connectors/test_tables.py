"""Steps over tables: read, sql and write on real files."""

from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest

from forebay.domain.errors import RequestError
from tests.integration.connectors.table_house import TableHouse, table_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TableHouse]:
    async with table_house(tmp_path) as opened:
        yield opened


async def test_rows_go_from_csv_through_sql_to_parquet(house: TableHouse) -> None:
    house.file("in.csv", "id,text,price\n1, a ,2\n2,bb,3\n3,ccc,4\n")
    load = await house.run("read", path="in.csv", columns={"price": "INTEGER"})
    query = "SELECT id, trim(text) AS text, price * 2 AS twice FROM load WHERE price >= $params.least; -- done"
    clean = await house.run("sql", {"load": load.output}, query=query)
    assert clean.output.table is not None
    assert clean.output.table.columns == {"id": "VARCHAR", "text": "VARCHAR", "twice": "INTEGER"}
    saved = await house.run("write", {"clean": clean.output}, path="out/{run.date}/all.parquet")
    written = house.folder / "out/2026-11-21/all.parquet"
    assert duckdb.sql(f"FROM '{written}'").fetchall() == [("2", "bb", 6), ("3", "ccc", 8)]
    assert [file.path for file in saved.output.files] == ["out/2026-11-21/all.parquet"]
    assert list(written.parent.iterdir()) == [written]


async def test_the_first_rows_of_those_that_a_struct_s_field_chooses_are_found(house: TableHouse) -> None:
    house.file("in.jsonl", "\n".join(f'{{"id": {n}, "output": {{"label": "{"ab"[n % 2]}"}}}}' for n in range(12)))
    read = await house.run("read", path="in.jsonl")
    query = "SELECT id FROM step WHERE output.label = 'b' ORDER BY id DESC, id LIMIT 2"
    chosen = await house.run("sql", {"step": read.output}, query=query)
    assert [row["id"] for row in await house.rows(chosen.output.table)] == [11, 9]


async def test_equal_inputs_give_equal_tables(house: TableHouse) -> None:
    house.file("in.csv", "id,k\n" + "".join(f"{i},{i % 7}\n" for i in range(5000)))
    query = "SELECT k, count(*) AS n, list(id) AS ids FROM load GROUP BY k"
    digests = set()
    for _ in range(3):
        load = await house.run("read", path="in.csv")
        grouped = await house.run("sql", {"load": load.output}, query=query)
        assert load.output.table is not None
        assert grouped.output.table is not None
        digests.add((load.output.table.digest, grouped.output.table.digest))
    assert len(digests) == 1


async def test_a_malformed_row_of_csv_is_rejected_with_its_line(house: TableHouse) -> None:
    house.file("in.csv", b'id,text,n\n1,hello,3\n2,"two\nlines",4\n3,too,many,5\n4,short\n5,\xff,7\n6,,8\n')
    load = await house.run("read", path="in.csv", columns={"n": "INTEGER"})
    assert [row["id"] for row in await house.rows(load.output.table)] == ["1", "2", "6"]
    rejected = await house.rows(load.output.rejected)
    assert [(row["path"], row["line"], row["error"]["code"]) for row in rejected] == [
        ("in.csv", 5, "malformed_record"),
        ("in.csv", 6, "malformed_record"),
        ("in.csv", 7, "malformed_record"),
    ]
    assert rejected[0]["text"] == "3,too,many,5"
    assert (load.counts.entered, load.counts.succeeded, load.counts.failed) == (6, 3, 3)


async def test_a_line_that_is_no_json_object_is_rejected_with_its_number(house: TableHouse) -> None:
    house.file("in.jsonl", b'\xef\xbb\xbf{"a": 1, "b": {"c": "x"}}\n\n{"a": 2\n[1]\n\xff\n{"a": 3, "d": [1]}')
    load = await house.run("read", path="in.jsonl")
    assert await house.rows(load.output.table) == [
        {"a": 1, "b": {"c": "x"}, "d": None},
        {"a": 3, "b": None, "d": [1]},
    ]
    assert [row["line"] for row in await house.rows(load.output.rejected)] == [3, 4, 5]


async def test_sql_of_a_step_reaches_nothing_but_its_inputs(house: TableHouse) -> None:
    secret = house.file("secret.txt", "hidden")
    house.file("in.csv", "id\n1\n")
    load = await house.run("read", path="in.csv")
    for query in (
        f"SELECT * FROM read_text('{secret}')",
        f"SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')",
    ):
        with pytest.raises(RequestError, match=r"disabled|does not exist"):
            await house.run("sql", {"load": load.output}, query=query)


async def test_a_missing_file_fails_as_a_source(house: TableHouse) -> None:
    for path in ("none.csv", "none/*.csv"):
        with pytest.raises(RequestError, match="none") as raised:
            await house.run("read", path=path)
        assert raised.value.code == "source_failed"


async def test_a_fingerprint_follows_what_stands_outside(house: TableHouse) -> None:
    path = house.file("in.csv", "id\n1\n")
    reading, writing = house.work("read", path="in.csv"), house.work("write", path="out.csv")
    first = await house.tables.fingerprint(reading)
    assert await house.tables.fingerprint(reading) == first
    absent = await house.tables.fingerprint(writing)
    load = await house.tables.run(reading)
    await house.run("write", {"load": load.output}, path="out.csv")
    written = await house.tables.fingerprint(writing)
    path.write_text("id\n2\n")
    (house.folder / "out.csv").write_text("another")
    changed = await house.tables.fingerprint(writing)
    assert await house.tables.fingerprint(reading) != first
    assert len({absent, written, changed}) == 3
    assert await house.tables.fingerprint(house.work("sql", query="SELECT 1")) == ""
