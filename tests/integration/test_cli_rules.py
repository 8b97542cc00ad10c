"""`forebay rules test` as a person at a shell sees it: no server, and nothing sent."""

import json
from pathlib import Path

import pytest

from forebay.cli.main import execute

CONFIGURATION = """
store: sqlite:///forebay.db
targets:
  gpt: {type: openai, base_url: "http://127.0.0.1:1/v1", models: [m]}
rules:
  - name: launch
    pattern: {source: [shop]}
    send:
      copy: {target: gpt, body: {model: m, text: "for {detail.name}"}}
      price: {target: gpt, body: {model: m, text: "at {detail.price}"}}
"""
EVENT = {"source": "shop", "detail-type": "made", "detail": {"name": "lamp"}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forebay.yaml").write_text(CONFIGURATION)
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    return tmp_path


def test_it_shows_what_would_be_sent_and_what_would_fail(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["rules", "test", "event.json"]) == 0
    shown = capsys.readouterr().out
    assert 'copy -> gpt: {"model":"m","text":"for lamp"}' in shown
    assert "detail.price" in shown
    assert folder.joinpath("forebay.db").exists()


def test_an_event_that_matches_nothing_is_exit_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "event.json").write_text(json.dumps({**EVENT, "source": "else"}))
    assert execute(["rules", "test", "event.json"]) == 1
    assert "matches nothing" in capsys.readouterr().out


def test_a_pattern_alone_is_tried(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pattern.json").write_text('{"detail": {"name": [{"prefix": "la"}]}}')
    assert execute(["rules", "test", "event.json", "--pattern", "pattern.json"]) == 0
    (folder / "pattern.json").write_text('{"detail": {"name": [{"prefix": 1}]}}')
    assert execute(["rules", "test", "event.json", "--pattern", "pattern.json"]) != 0
    assert "detail.name[0].prefix" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[1]", "no json"])
def test_what_is_no_event_is_exit_2(folder: Path, text: str) -> None:
    (folder / "event.json").write_text(text)
    assert execute(["rules", "test", "event.json"]) == 2
