"""`forebay run` over every form of input and output, as a user runs it."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.acceptance.run_support import Mock, forebay, mock_model, read_lines, write_lines

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
    "required": ["label", "score"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    with mock_model(tmp_path_factory.mktemp("mock")) as mock:
        yield mock


@pytest.fixture
def mock(shared: Mock) -> Mock:
    shared.reset()
    return shared


def test_csv_becomes_csv_in_the_order_of_the_input(tmp_path: Path, mock: Mock) -> None:
    (tmp_path / "in.csv").write_text('id,review\n007,"a, ""b""\nc"\n2,\n3,fine\n')
    ended = forebay(
        "run", "in.csv", "-o", "out.csv", "--prompt", "Say: {review}!", "--base-url", mock.base_url, cwd=tmp_path
    )
    assert (ended.code, ended.err.count("Traceback")) == (0, 0)
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [
        {"id": "007", "review": 'a, "b"\nc', "output": 'echo: Say: a, "b"\nc!'},
        {"id": "2", "review": "", "output": "echo: Say: !"},
        {"id": "3", "review": "fine", "output": "echo: Say: fine!"},
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.csv",
        "out.csv",
        "out.csv.forebay.db",
        "out.csv.forebay.db.blobs",
    ]


def test_jsonl_becomes_parquet_with_a_struct_where_a_schema_was_given(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "one", "output": "mine"}, {"text": "two", "extra": [1]}])
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    ended = forebay(
        *("run", "in.jsonl", "-o", "out.parquet", "--prompt", "Rate {text}", "--schema", "schema.json", "--json"),
        *("--model", "mock", "--base-url", mock.base_url),
        cwd=tmp_path,
    )
    assert ended.code == 0, ended.err
    assert {name: ended.json[name] for name in ("records", "succeeded", "failed", "reused", "calls")} == {
        "records": 2,
        "succeeded": 2,
        "failed": 0,
        "reused": 0,
        "calls": 2,
    }
    assert ended.json["usage"]["total_tokens"] > 0
    table = duckdb.sql(f"SELECT text, input_output, extra, output.label FROM '{tmp_path}/out.parquet'").fetchall()
    assert table == [("one", "mine", None, "good"), ("two", None, [1], "good")]


def test_parquet_text_files_and_folders_are_read(tmp_path: Path, mock: Mock) -> None:
    duckdb.sql("SELECT * FROM (VALUES (1, 'x'), (2, 'y')) t(n, text)").write_parquet(str(tmp_path / "in.parquet"))
    (tmp_path / "in.txt").write_text("x\ny\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.md").write_text("x")
    (tmp_path / "folder" / "b.md").write_text("y")
    for source in ("in.parquet", "in.txt", "folder"):
        ended = forebay(
            "run", source, "-o", "out.jsonl", "--prompt", "{text}", "--base-url", mock.base_url, cwd=tmp_path
        )
        assert ended.code == 0, ended.err
        assert [row["output"] for row in read_lines(tmp_path / "out.jsonl")] == ["echo: x", "echo: y"]
    assert mock.calls == 2  # the same questions of the same output: paid for once
    assert [row["path"] for row in read_lines(tmp_path / "out.jsonl")] == ["a.md", "b.md"]


def test_stdin_is_read_and_the_full_row_tells_what_was_paid(tmp_path: Path, mock: Mock) -> None:
    ended = forebay(
        *("run", "-", "-o", "out.jsonl", "--prompt", "{q}", "--full", "--base-url", mock.base_url),
        cwd=tmp_path,
        stdin='{"q": "hi", "usage": "mine"}\n',
    )
    assert ended.code == 0, ended.err
    (row,) = read_lines(tmp_path / "out.jsonl")
    assert (row["q"], row["input_usage"], row["output"], row["attempts"]) == ("hi", "mine", "echo: hi", 1)
    assert row["response"]["object"] == "chat.completion"
    assert row["usage"]["total_tokens"] > 0


def test_openai_lines_go_as_they_are_and_come_back_as_openai_lines(tmp_path: Path, mock: Mock) -> None:
    body = {"model": "mock", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
    lines = [{"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body} for name in ("a", "b")]
    write_lines(tmp_path / "in.jsonl", lines)
    ended = forebay("run", "in.jsonl", "-o", "out.jsonl", "--base-url", mock.base_url, cwd=tmp_path)
    assert ended.code == 0, ended.err
    rows = read_lines(tmp_path / "out.jsonl")
    assert [row["custom_id"] for row in rows] == ["a", "b"]
    assert [row["response"]["status_code"] for row in rows] == [200, 200]
    assert rows[0].keys() == {"id", "custom_id", "response", "error"}


@pytest.mark.parametrize(
    ("record", "endpoint", "expected"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, None, "echo: hi"),
        ({"prompt": "hi"}, None, "echo: hi"),
        ({"prompt": "hi"}, "/v1/completions", "echo: hi"),
        ({"input": "hi"}, "/v1/responses", "echo: hi"),
    ],
)
def test_a_field_of_the_record_is_the_request(
    tmp_path: Path, mock: Mock, record: dict[str, object], endpoint: str | None, expected: str
) -> None:
    write_lines(tmp_path / "in.jsonl", [record])
    more = () if endpoint is None else ("--endpoint", endpoint)
    ended = forebay("run", "in.jsonl", "-o", "out.jsonl", "--base-url", mock.base_url, *more, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert read_lines(tmp_path / "out.jsonl")[0]["output"] == expected


def test_embeddings_are_vectors(tmp_path: Path, mock: Mock) -> None:
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    ended = forebay(
        *("run", "in.txt", "-o", "out.parquet", "--endpoint", "/v1/embeddings", "--prompt", "{text}"),
        *("--base-url", mock.base_url),
        cwd=tmp_path,
    )
    assert ended.code == 0, ended.err
    assert duckdb.sql(f"SELECT len(output) > 1 FROM '{tmp_path}/out.parquet'").fetchall() == [(True,), (True,)]


def test_a_body_template_keeps_types(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"talk": [{"role": "user", "content": "{not a field}"}], "t": 0}])
    (tmp_path / "body.json").write_text('{"model": "mock", "messages": "{talk}", "temperature": "{t}"}')
    ended = forebay(
        *("run", "in.jsonl", "-o", "out.jsonl", "--body", "body.json", "--base-url", mock.base_url), cwd=tmp_path
    )
    assert ended.code == 0, ended.err
    assert read_lines(tmp_path / "out.jsonl")[0]["output"] == "echo: {not a field}"


def test_anthropics_endpoint_is_asked_in_its_own_words(tmp_path: Path, mock: Mock) -> None:
    (tmp_path / "in.txt").write_text("hi\n")
    ended = forebay(
        *(
            "run",
            "in.txt",
            "-o",
            "out.jsonl",
            "--endpoint",
            "/v1/messages",
            "--prompt",
            "{text}",
            "--system",
            "Be kind",
        ),
        *("--model", "mock", "--base-url", mock.url),
        cwd=tmp_path,
    )
    assert ended.code == 0, ended.err
    assert read_lines(tmp_path / "out.jsonl")[0]["output"] == "echo: hi"


def test_an_empty_input_is_a_whole_output(tmp_path: Path, mock: Mock) -> None:
    (tmp_path / "in.csv").write_text("text\n")
    (tmp_path / "in.jsonl").write_text("")
    for source in ("in.csv", "in.jsonl"):
        ended = forebay(
            *("run", source, "-o", "out.csv", "--prompt", "{text}", "--base-url", mock.base_url, "--json"), cwd=tmp_path
        )
        assert (ended.code, ended.json["records"], ended.json["succeeded"]) == (0, 0, 0), ended.err
    assert mock.calls == 0


def test_binary_files_of_a_folder_are_refused_as_not_built(tmp_path: Path, mock: Mock) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.bin").write_bytes(b"\0\xff")
    (tmp_path / "in/b.txt").write_text("b")
    ended = forebay("run", "in", "-o", "out.jsonl", "--prompt", "{file}", "--base-url", mock.base_url, cwd=tmp_path)
    assert (ended.code, "sends no binary files" in ended.err) == (2, True)
