"""Where a run is done: a server, a store with workers elsewhere, a target that is never there."""

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import forebay as package
from forebay.policy.requests import RequestOptions
from forebay.runs.inputs import given
from forebay.runs.job import execute
from forebay.runs.options import RunOptions
from forebay.runs.progress import Silence
from forebay.runs.site import LocalSite
from forebay.settings import load_settings
from tests.acceptance.run_support import Mock, forebay, mock_model, read_lines, started, until, write_lines


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    with mock_model(tmp_path_factory.mktemp("mock")) as running:
        yield running


@pytest.fixture
def configured(tmp_path: Path, mock: Mock) -> Path:
    mock.change(latency_ms=0)
    mock.reset()
    target = {"type": "openai", "base_url": mock.base_url, "models": ["mock"]}
    settings = {"store": "sqlite:///s.db", "targets": {"here": target}}
    (tmp_path / "forebay.yaml").write_text(json.dumps(settings))
    return tmp_path


def test_a_run_on_a_server_is_resumed_and_paid_once(configured: Path, mock: Mock, tmp_path: Path) -> None:
    elsewhere = tmp_path / "client"
    elsewhere.mkdir()
    write_lines(elsewhere / "in.jsonl", [{"q": "a"}, {"q": "b"}, {"q": "[[fault:400]]"}])
    with started("serve", "--port", "0", cwd=configured) as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        command = ("run", "in.jsonl", "-o", "out.jsonl", "--prompt", "{q}", "--json", "--server", found.group())
        first = forebay(*command, cwd=elsewhere)
        assert (first.code, first.json["succeeded"], first.json["failed"]) == (1, 2, 1), first.err
        assert [row["output"] for row in read_lines(elsewhere / "out.jsonl")] == ["echo: a", "echo: b"]
        assert [row["record"] for row in read_lines(elsewhere / "out.jsonl.errors.jsonl")] == [2]
        again = forebay(*command, cwd=elsewhere)
        assert (again.json["reused"], mock.calls) == (2, 3)
        refused = forebay(*command, "--concurrency", "2", cwd=elsewhere)
        assert refused.code == 2
        detached = forebay(*command[:5], "{q}!", *command[6:], "--detach", cwd=elsewhere)
        assert (detached.code, detached.json["batch"].startswith("batch_")) == (0, True)
        fetched = forebay(*command[:5], "{q}!", *command[6:], cwd=elsewhere)
        assert (fetched.json["succeeded"], mock.calls) == (2, 6)


def test_a_detached_run_waits_for_a_worker(configured: Path, mock: Mock) -> None:
    write_lines(configured / "in.jsonl", [{"q": f"t{n}"} for n in range(20)])
    command = ("run", "in.jsonl", "-o", "out.jsonl", "--prompt", "{q}", "--json")
    detached = forebay(*command, "--detach", cwd=configured)
    assert (detached.code, mock.calls) == (0, 0), detached.err
    with started("worker", cwd=configured) as worker:
        until(lambda: mock.answered == 20, "twenty answers")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    ended = forebay(*command, cwd=configured)
    assert (ended.code, ended.json["succeeded"], mock.calls) == (0, 20, 20)


def test_detach_without_anyone_to_do_it_is_refused(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"q": "a"}])
    ended = forebay(
        *("run", "in.jsonl", "-o", "out.jsonl", "--prompt", "{q}", "--detach", "--base-url", mock.base_url),
        cwd=tmp_path,
    )
    assert (ended.code, "--detach needs" in ended.err) == (2, True)


async def test_a_target_that_is_never_reachable_stops_the_run_with_a_clear_sentence(tmp_path: Path) -> None:
    options = RunOptions(
        output=str(tmp_path / "out.jsonl"),
        request=RequestOptions(prompt="{q}", model="m"),
        base_url="http://127.0.0.1:9/v1",
        unreachable_seconds=1.0,
    )
    site = LocalSite(load_settings(None, {}), {})
    with pytest.raises(package.ForebayError, match=r"never reachable for 1 s .*the same command goes on"):
        await execute(given([{"q": "a"}]), options, site, Silence(), asyncio.Event())


def test_a_budget_stops_before_it_is_spent(tmp_path: Path, mock: Mock) -> None:
    target = {
        "type": "openai",
        "base_url": mock.base_url,
        "models": ["mock"],
        "prices": {"input": 1000, "output": 1000},
        "limits": {"concurrency": 1},
    }
    (tmp_path / "forebay.yaml").write_text(json.dumps({"store": "sqlite:///s.db", "targets": {"here": target}}))
    write_lines(tmp_path / "in.jsonl", [{"q": f"t{n}"} for n in range(10)])
    command = ("run", "in.jsonl", "-o", "out.jsonl", "--prompt", "{q}", "--param", "max_tokens=20", "--json")
    mock.reset()
    ended = forebay(*command, "--budget-usd", "0.1", cwd=tmp_path)
    assert ended.code == 1, ended.err
    assert 0 < ended.json["cost_usd"] <= 0.1
    assert 0 < ended.json["succeeded"] == mock.calls < 10
    codes = {row["error"]["code"] for row in read_lines(tmp_path / "out.jsonl.errors.jsonl")}
    assert codes == {"budget_exceeded"}
    more = forebay(*command, cwd=tmp_path)
    assert (more.code, more.json["succeeded"], mock.calls) == (0, 10, 10)
