"""Inputs of `forebay run`: every form, well-formed or damaged, is read as it stands or refused with its place."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from forebay.domain.errors import ConfigurationError
from forebay.runs.inputs import open_input
from forebay.runs.rows import cell, members_of
from tests.fuzz.refusals import complaint_of
from tests.fuzz.strategies import JSON_OBJECTS, JSON_VALUES, damaged, fuzz, raw_json

BOM = b"\xef\xbb\xbf"
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["", '"', "a,b", "line\nbreak", "\r\n", ";", "\t", "|", " x ", "=1+1", "''", "\u2028", "\x85", "\x1c"]
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(str.strip)
TABLES = st.lists(NAMES, min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.tuples(st.just(names), st.lists(st.tuples(*[CELLS] * len(names)).map(list), max_size=5))
)


def records(folder: Path, name: str, data: bytes) -> list[dict[str, Any]]:
    file = folder / name
    file.write_bytes(data)
    opened = open_input(str(file))
    found = [json.loads(record) for record in opened.records()]
    if opened.columns is not None:
        assert all(tuple(record) == opened.columns for record in found)
    return found


def csv_bytes(names: list[str], rows: list[list[str]], delimiter: str, ending: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *rows])
    return text.getvalue().encode()


@fuzz(80)
@given(table=TABLES, delimiter=st.sampled_from([",", ";", "\t", "|"]), ending=st.sampled_from(["\n", "\r\n"]))
def test_a_csv_of_any_dialect_gives_its_own_cells(
    tmp_path: Path, table: tuple[list[str], list[list[str]]], delimiter: str, ending: str
) -> None:
    names, rows = table
    assume(len(names) > 1 or delimiter == ",")
    for start in (b"", BOM):
        found = records(tmp_path, "a.csv", start + csv_bytes(names, rows, delimiter, ending))
        assert found == [dict(zip(names, row, strict=True)) for row in rows]


TEXTUAL = st.sampled_from(
    [b"a,b\n1,2\n", b'a,b\n"1\n2",3\n', b"a;b\r\n1;2\r\n", b"text\nx\n\ny", b"a,a\n1,2", b"a\n1,2\n"]
)


@fuzz(150)
@given(data=damaged(TEXTUAL) | st.binary(max_size=60), form=st.sampled_from(["a.csv", "a.tsv", "a.txt", "a.jsonl"]))
@example(b"", "a.csv")
@example(b"", "a.txt")
@example(b"\n\n", "a.csv")
@example(b"a,b\n\0,1\n", "a.csv")
@example(b"a\0b,c\n1,2\n", "a.csv")
@example(b'a\n"' + b"x" * 200_000 + b'"\n', "a.csv")
@example(b"a,\n1,2\n", "a.csv")
@example(b",column0\n1,2\n", "a.csv")
def test_a_damaged_text_is_read_or_refused_with_its_place(tmp_path: Path, data: bytes, form: str) -> None:
    said = complaint_of(lambda: records(tmp_path, form, data))
    assert said is None or said.startswith(str(tmp_path / form))


@fuzz(80)
@given(st.lists(raw_json().filter(lambda text: text.startswith("{")) | JSON_OBJECTS.map(json.dumps), max_size=5))
def test_json_lines_are_kept_byte_by_byte(tmp_path: Path, lines: list[str]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(BOM + "\r\n".join(lines).encode() + b"\n\n")
    assert list(open_input(str(file)).records()) == [line.strip().encode() for line in lines]


@fuzz(120)
@given(damaged(st.sampled_from([b'{"a": 1}\n{"b": [2]}\n', BOM + b"{}\r\n", b'{"a": "\\u00e9"}'])))
@example(b"[" * 100_000)
@example(b'{"a": ' + b"[" * 960 + b"]" * 960 + b"}")
@example(b'{"a": "\\ud800"}')
@example(b'{"a": 1}\n[1]\n')
def test_a_damaged_json_line_is_named(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(data)
    said = complaint_of(lambda: [members_of(record) for record in open_input(str(file)).records()])
    assert said is None or f"{file}: line " in said


@fuzz(60)
@given(st.lists(CELLS | st.just("x\x0by"), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_a_text_gives_a_record_a_line_split_at_newlines_alone(tmp_path: Path, lines: list[str], ending: str) -> None:
    kept = [line.replace("\n", "").replace("\r", "") for line in lines]
    found = records(tmp_path, "a.txt", (ending.join([*kept, ""]) if kept else "").encode())
    assert [record["text"] for record in found] == kept


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("parquet") / "a.parquet"
    query = "SELECT i AS a, 'text ' || i AS t, [i, NULL] AS l, {'x': i / 0.0} AS s FROM range(50) r(i)"
    duckdb.sql(query).write_parquet(str(file))
    return file.read_bytes()


@fuzz(60)
@given(data=st.data())
def test_a_damaged_parquet_is_read_or_refused_with_its_name(
    tmp_path: Path, parquet: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(parquet)))
    changed = data.draw(
        st.sampled_from([parquet[:place], parquet[:place] + b"\0" + parquet[place + 1 :], b"PAR1", b""])
    )
    said = complaint_of(lambda: records(tmp_path, "a.parquet", changed))
    assert said is None or str(tmp_path / "a.parquet") in said


def test_numbers_that_json_has_not_are_null_in_a_record_of_parquet(tmp_path: Path, parquet: bytes) -> None:
    found = records(tmp_path, "a.parquet", parquet)
    assert len(found) == 50


@fuzz(80)
@given(JSON_VALUES)
def test_a_cell_is_text_as_it_is_or_json(value: Any) -> None:
    shown = cell(msgspec.Raw(json.dumps(value).encode()))
    if isinstance(value, str):
        assert shown == value
    else:
        assert shown == ("" if value is None else json.dumps(value))


def test_a_form_that_is_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.xml").touch()
    with pytest.raises(ConfigurationError, match=r"an input is \.jsonl"):
        open_input(str(tmp_path / "a.xml"))
