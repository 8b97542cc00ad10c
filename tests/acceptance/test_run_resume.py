"""What is paid for stays paid: Ctrl-C, `kill -9`, changed inputs, failed records."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.run_support import (
    LONGEST_SECONDS,
    Ended,
    Mock,
    forebay,
    mock_model,
    read_lines,
    started,
    until,
    write_lines,
)

RECORDS = 400
SUMMARY = {"records", "succeeded", "failed", "reused", "calls", "usage", "cost_usd", "seconds", "output", "errors"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    with mock_model(tmp_path_factory.mktemp("mock")) as mock:
        yield mock


@pytest.fixture
def mock(shared: Mock) -> Mock:
    shared.change(latency_ms=0)
    shared.reset()
    return shared


def command(mock: Mock, *more: str, prompt: str = "Say {text}") -> tuple[str, ...]:
    options = ("--prompt", prompt, "--model", "mock", "--base-url", mock.base_url, "--json", *more)
    return ("run", "in.jsonl", "-o", "out.jsonl", *options)


def run(mock: Mock, folder: Path, *more: str, prompt: str = "Say {text}") -> Ended:
    return forebay(*command(mock, *more, prompt=prompt), cwd=folder)


def outputs(folder: Path) -> list[str]:
    return [row["output"] for row in read_lines(folder / "out.jsonl")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on_and_pays_only_for_what_was_in_flight(
    tmp_path: Path, mock: Mock, number: signal.Signals
) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": f"t{n}"} for n in range(RECORDS)])
    mock.change(hold_after=RECORDS // 4)
    with started(*command(mock, "--concurrency", "8"), cwd=tmp_path) as process:
        until(lambda: (mock.answered, mock.in_flight) == (RECORDS // 4, 8), "a quarter of the answers")
        process.send_signal(number)
        mock.change(hold_after=RECORDS // 4 + 8)  # what is in flight may finish, and no other call
        process.wait(LONGEST_SECONDS)
    if number is signal.SIGINT:
        assert process.returncode == 130
    assert not (tmp_path / "out.jsonl").exists()
    mock.change(hold_after=None)
    ended = run(mock, tmp_path)
    assert ended.code == 0, ended.err
    assert outputs(tmp_path) == [f"echo: Say t{n}" for n in range(RECORDS)]
    most_in_flight = 8 if number is signal.SIGKILL else 0
    assert RECORDS <= mock.calls <= RECORDS + most_in_flight
    assert ended.json["succeeded"] == RECORDS
    assert ended.json["reused"] + ended.json["calls"] == RECORDS
    assert not (tmp_path / "out.jsonl.partial.jsonl").exists()


def test_a_finished_run_is_not_paid_for_again(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "b"}, {"text": "a"}])
    assert set(run(mock, tmp_path).json) == SUMMARY
    assert mock.calls == 3  # equal requests are told apart by their occurrence
    ended = run(mock, tmp_path)
    assert (ended.code, ended.json["reused"], ended.json["calls"], mock.calls) == (0, 3, 0, 3)
    assert outputs(tmp_path) == ["echo: Say a", "echo: Say b", "echo: Say a"]


def test_a_moved_row_is_not_sent_again_and_a_changed_one_is(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "b"}, {"text": "c"}])
    assert run(mock, tmp_path).code == 0
    write_lines(tmp_path / "in.jsonl", [{"text": "c"}, {"text": "a", "note": "not asked"}, {"text": "new"}])
    ended = run(mock, tmp_path)
    assert (ended.json["reused"], mock.calls) == (2, 4)
    assert outputs(tmp_path) == ["echo: Say c", "echo: Say a", "echo: Say new"]


def test_a_changed_prompt_sends_again_and_the_old_one_is_remembered(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "b"}])
    assert run(mock, tmp_path).code == 0
    assert run(mock, tmp_path, prompt="Tell {text}").json["calls"] == 2
    assert outputs(tmp_path) == ["echo: Tell a", "echo: Tell b"]
    assert run(mock, tmp_path).json["calls"] == 0
    assert outputs(tmp_path) == ["echo: Say a", "echo: Say b"]


def test_a_killed_run_with_another_prompt_keeps_what_both_share(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": f"t{n}"} for n in range(RECORDS)])
    mock.change(hold_after=RECORDS // 4)
    with started(*command(mock, "--concurrency", "8"), cwd=tmp_path) as process:
        until(lambda: (mock.answered, mock.in_flight) == (RECORDS // 4, 8), "a quarter of the answers")
        process.kill()
        process.wait(LONGEST_SECONDS)
    assert run(mock, tmp_path, "--dry-run").json["already_paid"] >= RECORDS // 4 - 8  # answers may be on their way
    mock.change(hold_after=None)
    write_lines(tmp_path / "in.jsonl", [{"text": f"t{n}"} for n in range(1, RECORDS + 1)])
    ended = run(mock, tmp_path)
    assert ended.code == 0, ended.err
    assert outputs(tmp_path) == [f"echo: Say t{n}" for n in range(1, RECORDS + 1)]
    assert mock.calls <= RECORDS + 1 + 8


def test_failed_records_stand_apart_and_are_sent_again_only_on_demand(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "bad [[fault:422]]"}, {"no": "text"}])
    ended = run(mock, tmp_path)
    assert (ended.code, ended.json["succeeded"], ended.json["failed"]) == (1, 1, 2)
    refused, missing = read_lines(tmp_path / "out.jsonl.errors.jsonl")
    assert (refused["record"], refused["input"], refused["status_code"]) == (1, {"text": "bad [[fault:422]]"}, 422)
    assert (refused["error"]["code"], refused["attempts"]) == ("target_rejected", 1)
    assert (missing["record"], missing["error"]["code"], missing["attempts"]) == (2, "template_field_missing", 0)
    assert "text" in missing["error"]["message"]
    assert outputs(tmp_path) == ["echo: Say a"]

    assert (run(mock, tmp_path).code, mock.calls) == (1, 2)
    assert (run(mock, tmp_path, "--retry-failed").code, mock.calls) == (1, 3)

    write_lines(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "good"}])
    assert (run(mock, tmp_path).code, mock.calls) == (0, 4)
    assert not (tmp_path / "out.jsonl.errors.jsonl").exists()


def test_a_record_is_tried_as_often_as_was_said(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "x [[fault:500:1]]"}, {"text": "y [[fault:500]]"}])
    ended = run(mock, tmp_path, "--max-attempts", "2")
    assert (ended.code, ended.json["succeeded"], ended.json["failed"]) == (1, 1, 1)
    (failed,) = read_lines(tmp_path / "out.jsonl.errors.jsonl")
    assert (failed["record"], failed["attempts"], failed["status_code"]) == (1, 2, 500)


def test_fresh_ignores_what_was_paid(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": "a"}])
    run(mock, tmp_path)
    ended = run(mock, tmp_path, "--fresh")
    assert (ended.json["reused"], ended.json["calls"], mock.calls) == (0, 1, 2)
    assert run(mock, tmp_path).json["reused"] == 1


def test_a_dry_run_calls_nothing_and_keeps_nothing(tmp_path: Path, mock: Mock) -> None:
    write_lines(tmp_path / "in.jsonl", [{"text": f"t{n}"} for n in range(5)])
    ended = run(mock, tmp_path, "--dry-run", "--limit", "4")
    assert (ended.json["records"], ended.json["already_paid"], ended.json["to_send"]) == (4, 0, 4)
    assert [request["body"]["messages"][0]["content"] for request in ended.json["requests"]] == [
        "Say t0",
        "Say t1",
        "Say t2",
    ]
    assert mock.calls == 0
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    run(mock, tmp_path, "--limit", "1")
    assert run(mock, tmp_path, "--dry-run").json["already_paid"] == 1


def test_the_state_is_in_the_configured_store_if_there_is_one(tmp_path: Path, mock: Mock) -> None:
    target = {"type": "openai", "base_url": mock.base_url, "models": ["mock"]}
    (tmp_path / "forebay.yaml").write_text(json.dumps({"store": "sqlite:///state.db", "targets": {"here": target}}))
    write_lines(tmp_path / "in.jsonl", [{"text": "a"}])
    ended = forebay("run", "in.jsonl", "-o", "out.jsonl", "--prompt", "{text}", "--json", cwd=tmp_path)
    assert (ended.code, ended.json["calls"]) == (0, 1), ended.err
    names = {path.name for path in tmp_path.iterdir()}
    assert "state.db" in names
    assert not any("forebay.db" in name for name in names)


def test_stdin_resumes_under_a_name(tmp_path: Path, mock: Mock) -> None:
    arguments = ("run", "-", "-o", "out.jsonl", "--prompt", "{q}", "--base-url", mock.base_url, "--json")
    for expected in (1, 1):
        assert forebay(*arguments, cwd=tmp_path, stdin='{"q": "x"}').json["calls"] == expected
    for expected in (1, 0):
        assert forebay(*arguments, "--name", "n", cwd=tmp_path, stdin='{"q": "x"}').json["calls"] == expected
