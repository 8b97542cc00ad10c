"""Every form of input as records, and what is refused with a clear sentence."""

import csv
import io
import tempfile
from pathlib import Path

import duckdb
import msgspec
import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from forebay.domain.errors import ConfigurationError
from forebay.runs.inputs import given, open_input


def read(path: Path | str) -> list[dict[str, object]]:
    return [msgspec.json.decode(text) for text in open_input(str(path)).records()]


def written(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_csv_values_are_text(tmp_path: Path) -> None:
    path = written(tmp_path, "in.csv", "id,note\n007,\n1.50,null\n")
    assert read(path) == [{"id": "007", "note": ""}, {"id": "1.50", "note": "null"}]
    assert open_input(str(path)).columns == ("id", "note")


def test_csv_keeps_quoted_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = written(tmp_path, "in.csv", '\ufefftext,n\r\n"a, ""b""\nc",1\r\n\r\n"",2\r\n')
    assert read(path) == [{"text": 'a, "b"\nc', "n": "1"}, {"text": "", "n": "2"}]


def test_csv_of_other_delimiters_is_read(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a.csv", "a;b\n1,5;2\n")) == [{"a": "1,5", "b": "2"}]
    assert read(written(tmp_path, "b.tsv", "a\tb\n1\t2\n")) == [{"a": "1", "b": "2"}]


def test_a_short_csv_row_is_filled_and_a_long_one_refused(tmp_path: Path) -> None:
    assert read(written(tmp_path, "short.csv", "a,b\n1\n")) == [{"a": "1", "b": ""}]
    with pytest.raises(ConfigurationError, match="3 fields, the header has 2"):
        read(written(tmp_path, "long.csv", "a,b\n1,2,3\n"))


def test_a_csv_field_may_be_a_whole_document(tmp_path: Path) -> None:
    assert len(str(read(written(tmp_path, "in.csv", f"text\n{'x' * 300_000}\n"))[0]["text"])) == 300_000


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.csv", b"text\n\xff\xfe\n", "not UTF-8"),
        ("a.csv", b'text\n"open\n', "line 2"),
        ("a.csv", b"a,a\n1,2\n", "two columns are named 'a'"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "line 2 is no JSON object"),
        ("a.jsonl", b'{"a": 1\n', "line 1 is no JSON object"),
        ("a.txt", b"ok\n\xff\n", "not UTF-8"),
        ("a.parquet", b"PAR?", "can't be read as Parquet"),
        ("a.xlsx", b"", "an input is"),
    ],
)
def test_what_can_not_be_read_is_refused_with_its_place(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        read(written(tmp_path, name, data))


@pytest.mark.parametrize(("name", "sentence"), [("none.csv", "does not exist"), ("s3://bucket/a.csv", "s3://")])
def test_an_input_that_is_not_here_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        open_input(name)


def test_jsonl_passes_numbers_through_unchanged(tmp_path: Path) -> None:
    path = written(tmp_path, "in.jsonl", '\ufeff{"n": 12345678901234567890123, "x": 1.0}\n\n  {"n": 2}  \n')
    assert list(open_input(str(path)).records()) == [b'{"n": 12345678901234567890123, "x": 1.0}', b'{"n": 2}']


def test_stdin_is_jsonl() -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b'{"a": 1}\n'))
    assert list(open_input("-", stdin).records()) == [b'{"a": 1}']


def test_a_text_file_is_a_record_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "in.txt", "one\r\n\ntwo\u2028still two\x0b\nlast")
    assert [row["text"] for row in read(path)] == ["one", "", "two\u2028still two\x0b", "last"]


def test_a_folder_is_a_record_a_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    written(tmp_path, "b.md", "B")
    written(tmp_path / "sub", "a.txt", "A")
    written(tmp_path, "c.png", b"\x89PNG\x00\xff")
    written(tmp_path, ".hidden", "no")
    assert read(tmp_path) == [{"path": "b.md", "text": "B"}, {"path": "c.png"}, {"path": "sub/a.txt", "text": "A"}]


def test_a_folder_leaves_the_runs_own_files_out(tmp_path: Path) -> None:
    written(tmp_path, "a.md", "A")
    written(tmp_path, "out.jsonl", "{}")
    written(tmp_path, "out.jsonl.errors.jsonl", "{}")
    source = open_input(str(tmp_path), output=str(tmp_path / "out.jsonl"))
    assert [msgspec.json.decode(text)["path"] for text in source.records()] == ["a.md"]


def test_parquet_values_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    duckdb.connect().execute(
        f"COPY (SELECT 7 AS id, 'x' AS text, [1, 2] AS tags, {{'a': NULL}} AS s, DATE '2026-01-02' AS day) TO '{path}'"
    ).close()
    assert read(path) == [{"id": 7, "text": "x", "tags": [1, 2], "s": {"a": None}, "day": "2026-01-02"}]
    assert open_input(str(path)).columns == ("id", "text", "tags", "s", "day")


def test_objects_in_memory_are_records() -> None:
    assert list(given([{"a": 1}]).records()) == [b'{"a":1}']
    with pytest.raises(ConfigurationError, match="record 0 is no dict"):
        list(given([1]).records())  # type: ignore[list-item]  # the wrong type is the case


@over(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6))
def test_what_python_writes_as_csv_is_read_as_it_was(rows: list[tuple[str, str]]) -> None:

    usable = [row for row in rows if all("\0" not in cell and cell.isprintable() for cell in row)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("a", "b"), *usable])
        assert read(path) == [{"a": first, "b": second} for first, second in usable]


def test_a_column_may_have_any_name_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 'a' AS t, 1 AS row_, 2 AS \"Row__\") TO '{path}' (FORMAT parquet)")
    assert [msgspec.json.decode(record) for record in open_input(str(path)).records()] == [
        {"t": "a", "row_": 1, "Row__": 2}
    ]


def test_what_is_no_parquet_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    path.write_text("x\n")
    with pytest.raises(ConfigurationError) as raised:
        open_input(str(path))
    assert "\n" not in str(raised.value)
