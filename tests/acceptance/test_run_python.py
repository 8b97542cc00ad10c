"""`forebay.run` from Python: tables in, tables out, with the command's guarantees."""

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import forebay
from tests.acceptance.run_support import Mock, mock_model, read_lines, write_lines


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    with mock_model(tmp_path_factory.mktemp("mock")) as mock:
        yield mock


@pytest.fixture
def mock(shared: Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mock:
    monkeypatch.chdir(tmp_path)
    shared.reset()
    return shared


def test_a_list_of_dicts_comes_back_with_outputs(mock: Mock) -> None:
    table = forebay.run([{"q": "a"}, {"q": "b"}], prompt="{q}", model="mock", base_url=mock.base_url)
    assert table == [{"q": "a", "output": "echo: a"}, {"q": "b", "output": "echo: b"}]
    assert list(Path().iterdir()) == []


def test_a_dataframe_comes_back_as_one(mock: Mock) -> None:
    frame = pl.DataFrame({"q": ["a", "b"], "n": [1, None]})
    table = forebay.run(frame, prompt="{q} {n}", base_url=mock.base_url, name="mine")
    assert isinstance(table, pl.DataFrame)
    assert table["output"].to_list() == ["echo: a 1", "echo: b "]
    forebay.run(frame, prompt="{q} {n}", base_url=mock.base_url, name="mine")
    assert mock.calls == 2
    assert forebay.run(frame.clear(), prompt="{q}", base_url=mock.base_url).columns == ["q", "n", "output"]


def test_a_path_is_resumed_and_its_output_is_written(mock: Mock) -> None:
    write_lines(Path("in.jsonl"), [{"q": "a"}])
    for _ in range(2):
        assert forebay.run("in.jsonl", prompt="{q}", base_url=mock.base_url) == [{"q": "a", "output": "echo: a"}]
    assert mock.calls == 1
    forebay.run("in.jsonl", prompt="{q}", base_url=mock.base_url, output="out.jsonl")
    assert read_lines(Path("out.jsonl")) == [{"q": "a", "output": "echo: a"}]


def test_failed_records_are_told_with_what_succeeded(mock: Mock) -> None:
    with pytest.raises(forebay.JobFailed, match="1 of 2 records failed") as failed:
        forebay.run([{"q": "a"}, {"q": "[[fault:400]]"}], prompt="{q}", model="mock", base_url=mock.base_url)
    partial = failed.value.job
    assert [row["output"] for row in partial.table] == ["echo: a"]
    assert [error["record"] for error in partial.errors] == [1]


def test_wrong_options_are_refused(mock: Mock) -> None:
    with pytest.raises(forebay.ConfigurationError, match="Say what to ask"):
        forebay.run([{"q": "a"}], model="mock", base_url=mock.base_url)
    with pytest.raises(forebay.ConfigurationError, match="not int"):
        forebay.run(7, prompt="x", base_url=mock.base_url)


async def test_it_runs_where_a_loop_runs_already(mock: Mock) -> None:
    assert asyncio.get_running_loop().is_running()
    table = forebay.run([{"q": "a"}], prompt="{q}", model="mock", base_url=mock.base_url)
    assert table == [{"q": "a", "output": "echo: a"}]


def test_it_is_a_function_whatever_was_imported_first(mock: Mock) -> None:
    importlib.import_module("forebay.runs")
    table = forebay.run([{"q": "a"}], prompt="{q}", model="mock", base_url=mock.base_url)
    assert table == [{"q": "a", "output": "echo: a"}]
