"""Rows written in every form, whole or not at all, and read back as they were."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import pytest

from forebay.domain.errors import ConfigurationError
from forebay.policy.requests import Shape
from forebay.runs.outputs import check_form, write_lines, write_output
from forebay.runs.rows import Joiner, Members

JOINER = Joiner(Shape.RECORD, ("id", "text", "day", "extra"))
ROWS: list[Members] = [
    JOINER.row(b'{"id":1,"text":"a, \\"b\\"\\nc","day":"2026-01-02"}', b'{"output":{"label":"good","n":[1]}}'),
    JOINER.row(b'{"id":2,"text":null,"day":"x","extra":true}', b'{"output":{"label":null,"n":[]}}'),
]
COLUMNS = JOINER.columns


def test_jsonl_holds_the_rows_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_output(path, ROWS, COLUMNS)
    first, second = map(msgspec.json.decode, path.read_bytes().splitlines())
    assert first == {"id": 1, "text": 'a, "b"\nc', "day": "2026-01-02", "output": {"label": "good", "n": [1]}}
    assert second == {"id": 2, "text": None, "day": "x", "extra": True, "output": {"label": None, "n": []}}


def test_csv_holds_text_as_it_is_and_all_else_as_json(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_output(path, ROWS, COLUMNS)
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["text"] == 'a, "b"\nc'
    assert rows[0]["output"] == '{"label":"good","n":[1]}'
    assert (rows[0]["extra"], rows[1]["extra"], rows[1]["text"]) == ("", "true", "")


def test_parquet_holds_objects_as_structs_and_guesses_no_dates(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    write_output(path, ROWS, COLUMNS)
    table = duckdb.sql(f"SELECT id, text, day, extra, output.label AS label FROM '{path}'").fetchall()
    assert table == [(1, 'a, "b"\nc', "2026-01-02", None, "good"), (2, None, "x", True, None)]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_an_output_without_rows_is_a_whole_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form}"
    write_output(path, [], COLUMNS)
    assert path.exists()
    if form == "parquet":
        assert [row[0] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()] == list(COLUMNS)


def test_parquet_takes_numbers_without_a_sign_of_64_bits(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    joiner = Joiner(Shape.RECORD, ("n",))
    write_output(path, [joiner.row(b'{"n":18446744073709551615}', b'{"output":"x"}')], joiner.columns)
    assert duckdb.sql(f"SELECT n FROM '{path}'").fetchall() == [(18446744073709551615,)]


def test_an_input_field_named_output_is_kept_under_another_name() -> None:
    joiner = Joiner(Shape.RECORD, ("output", "input_output"))
    row = joiner.row(b'{"output":1,"input_output":2}', b'{"output":"new"}')
    assert set(joiner.columns) == set(row)
    assert {name: msgspec.json.decode(value) for name, value in row.items()} == {
        "input_input_output": 1,
        "input_output": 2,
        "output": "new",
    }


def test_an_openai_line_has_the_clients_own_custom_id() -> None:
    joiner = Joiner(Shape.OPENAI_LINE, ("custom_id", "body"))
    row = joiner.row(b'{"custom_id":"mine","body":{}}', b'{"id":"x","custom_id":"hash"}')
    assert {name: msgspec.json.decode(value) for name, value in row.items()} == {"id": "x", "custom_id": "mine"}


def test_a_draft_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")

    def lines() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_lines(path, lines())
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.jsonl", "old")]


def test_lines_make_a_file_only_if_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "errors.jsonl"
    assert write_lines(path, [b"{}"]) == 1
    assert write_lines(path, []) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.xlsx", "out", "missing/out.csv"])
def test_a_form_or_folder_that_can_not_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        check_form(tmp_path / name)


def test_what_a_killed_process_left_beside_the_output_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    gone = int(ended.stdout)
    litter = [tmp_path / f".out.jsonl.{gone}.draft", tmp_path / f".out.jsonl.{gone}.draft.x1"]
    litter[0].write_bytes(b"half")
    litter[1].mkdir()
    (litter[1] / "rows.jsonl").write_bytes(b"half")
    kept = [
        tmp_path / f".out.jsonl.{os.getppid()}.draft",
        tmp_path / ".out.jsonl.mine.draft",
        tmp_path / ".other.draft",
    ]
    for one in kept:
        one.write_bytes(b"another's")
    write_output(path, ROWS, COLUMNS)
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept])
