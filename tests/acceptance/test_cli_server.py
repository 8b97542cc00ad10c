"""The commands that need a server: `serve` and what speaks to it."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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

ENDING_SECONDS = 25  # below the 30 of a drain


class Served:
    """A running server, and commands that speak to it."""

    def __init__(self, process: subprocess.Popen[str], url: str, folder: Path) -> None:
        self.process = process
        self.url = url
        self.folder = folder

    def __call__(self, *arguments: str | Path) -> Ended:
        return forebay(*arguments, "--server", self.url, cwd=self.folder)


@contextmanager
def served(folder: Path, mock: Mock, *arguments: str) -> Iterator[Served]:
    target = {"type": "openai", "base_url": mock.base_url, "models": ["mock"]}
    (folder / "forebay.yaml").write_text(json.dumps({"store": "sqlite:///s.db", "targets": {"here": target}}))
    with started("serve", "--port", "0", *arguments, cwd=folder) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield Served(process, found.group(), folder)


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    with mock_model(tmp_path_factory.mktemp("mock")) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mock: Mock) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), mock) as running:
        yield running


def test_a_job_goes_through_all_its_commands(server: Served) -> None:
    submitted = server("jobs", "submit", "--model", "mock", "--prompt", "hi", "--wait", "300", "--json")
    assert (submitted.code, submitted.json["status"]) == (0, "succeeded"), submitted.err
    job_id = submitted.json["id"]
    assert server("jobs", "get", job_id, "--json").json["result"]["status_code"] == 200
    assert server("jobs", "wait", job_id).code == 0
    listed = server("jobs", "list")
    assert (listed.code, job_id in listed.out) == (0, True)
    assert server("jobs", "get", "job_none").code == 1
    unended = server("jobs", "submit", "--model", "mock", "--prompt", "hi", "--not-before", "1h", "--wait", "0")
    assert (unended.code, "is still queued after 0 s" in unended.err) == (1, True)


def test_a_dead_letter_is_listed_shown_retried_and_purged(server: Served) -> None:
    failed = server("jobs", "submit", "--model", "mock", "--prompt", "x [[fault:422]]", "--wait", "300", "--json")
    assert (failed.code, failed.json["status"]) == (1, "failed")
    job_id = failed.json["id"]
    assert job_id in server("dead-letters", "list").out
    assert server("dead-letters", "show", job_id, "--json").json["error"]["code"] == "target_rejected"
    assert server("dead-letters", "retry", job_id).code == 0
    assert server("jobs", "wait", job_id, "--timeout", "300").code == 1
    assert server("dead-letters", "purge", job_id).code == 0


def test_targets_are_listed_and_checked(server: Served) -> None:
    assert server("targets", "list", "--json").json["data"][0]["name"] == "here"
    checked = forebay("targets", "check", "--json", cwd=server.folder)
    assert (checked.code, checked.json["data"][0]["ok"]) == (0, True), checked.err


def test_doctor_finds_the_installation_well(server: Served) -> None:
    report = forebay("doctor", "--json", cwd=server.folder)
    assert report.code == 0, report.out
    names = {check["name"] for check in report.json["data"]}
    assert {"configuration", "disk", "integrity", "store", "blobs"} <= names
    assert any(name.startswith("worker ") for name in names)
    assert {check["level"] for check in report.json["data"]} <= {"ok", "warn"}


def test_doctor_fails_a_damaged_store(tmp_path: Path) -> None:
    (tmp_path / "forebay.yaml").write_text('{"store": "sqlite:///s.db"}')
    (tmp_path / "s.db").write_bytes(b"no database at all, but a text of some length" * 100)
    ended = forebay("doctor", cwd=tmp_path)
    assert ended.code == 1
    assert "fail" in ended.out


def test_sigterm_drains_and_ctrl_c_is_130(tmp_path: Path, mock: Mock) -> None:
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        folder = tmp_path / number.name
        folder.mkdir()
        with served(folder, mock) as running:
            running.process.send_signal(number)
            assert running.process.wait(LONGEST_SECONDS) == code


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in ("serve", "mock-model"):
            ended = forebay(command, "--port", port, cwd=tmp_path)
            assert (ended.code, "Can't listen on" in ended.err, "Traceback" in ended.err) == (2, True, False)


def test_worker_processes_are_guarded_and_end_with_the_server(tmp_path: Path, mock: Mock) -> None:
    def workers() -> list[int]:
        report = forebay("doctor", "--json", cwd=tmp_path).json["data"]
        said = [check["message"] for check in report if check["name"].startswith("worker ") and check["level"] == "ok"]
        return [int(found.group(1)) for text in said if (found := re.search(r"pid (\d+)", text))]

    with served(tmp_path, mock, "--workers", "2") as running:
        until(lambda: len(workers()) == 2, "two workers")
        assert running.process.pid not in workers()
        submitted = running("jobs", "submit", "--model", "mock", "--prompt", "hi", "--wait", "300", "--json")
        assert submitted.json["status"] == "succeeded"
        killed = workers()[0]
        subprocess.run(["kill", "-9", str(killed)], check=True)
        until(lambda: len([pid for pid in workers() if pid != killed]) == 2, "a worker in its place")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(LONGEST_SECONDS) == 0
    assert workers() == []


def test_a_batch_goes_through_all_its_commands(server: Served) -> None:
    body = {"model": "mock", "messages": [{"role": "user", "content": "hi"}]}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    write_lines(server.folder / "good.jsonl", [{**line, "custom_id": f"c{n}"} for n in range(3)])
    created = server("batches", "create", "good.jsonl", "--wait", "--json")
    assert (created.code, created.json["status"]) == (0, "completed"), created.err
    batch_id = created.json["id"]
    assert server("batches", "get", batch_id, "--json").json["request_counts"] == {
        "total": 3,
        "completed": 3,
        "failed": 0,
    }
    assert batch_id in server("batches", "list").out
    assert server("batches", "wait", batch_id).code == 0
    assert server("batches", "results", batch_id, "-o", "results.jsonl").code == 0
    assert {row["custom_id"] for row in read_lines(server.folder / "results.jsonl")} == {"c0", "c1", "c2"}

    bad = {**body, "messages": [{"role": "user", "content": "x [[fault:400]]"}]}
    write_lines(server.folder / "bad.jsonl", [{**line, "custom_id": "b", "body": bad}])
    failed = server("batches", "create", "bad.jsonl", "--wait", "--json")
    assert (failed.code, failed.json["request_counts"]["failed"]) == (1, 1)
    retried = server("batches", "retry", failed.json["id"], "--json")
    assert retried.json["metadata"]["retry_of"] == failed.json["id"]


def test_a_second_ctrl_c_ends_the_worker_processes_too(tmp_path: Path) -> None:
    with mock_model(tmp_path, "--latency-ms", "600000") as slow, served(tmp_path, slow, "--workers", "2") as server:
        assert server("jobs", "submit", "--model", "mock", "--prompt", "hi").code == 0
        until(lambda: slow.in_flight == 1, "a call under way")
        server.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1)  # the call under way is waited for
        server.process.send_signal(signal.SIGINT)
        server.process.communicate(timeout=ENDING_SECONDS)  # the workers hold the pipes as long as they live
        assert server.process.returncode == 130
