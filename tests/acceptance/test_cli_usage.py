"""Exit codes and sentences of the command line: wrong usage is told before anything happens."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.run_support import COMMAND, LONGEST_SECONDS, environment, forebay, started, write_lines

COMMANDS = [
    *(["run"], ["serve"], ["worker"], ["mock-model"], ["doctor"]),
    *(["jobs", verb] for verb in ("submit", "get", "wait", "list", "cancel", "retry")),
    *(["batches", verb] for verb in ("create", "list", "get", "wait", "results", "cancel", "retry")),
    *(["dead-letters", verb] for verb in ("list", "show", "retry", "purge")),
    *(["targets", verb] for verb in ("list", "check")),
    *(["models", verb] for verb in ("list", "pull", "serve")),
    *([], ["jobs"], ["batches"], ["dead-letters"], ["targets"], ["models"]),
]
NOWHERE = "http://127.0.0.1:9/v1"
RUN = ("run", "in.jsonl", "-o", "out.jsonl")


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("bogus",), "No such command 'bogus'"),
    (("run", "--bogus"), "No such option: --bogus"),
    (("run", "in.jsonl"), "--output"),
    ((*RUN, "--prompt", "{text}", "--concurrency", "x"), "--concurrency"),
    (("run", "gone.csv", "-o", "out.jsonl", "--prompt", "x"), "'gone.csv' does not exist"),
    (("run", "s3://b/x.csv", "-o", "out.jsonl", "--prompt", "x"), "s3://"),
    (("run", "in.jsonl", "-o", "out.xlsx", "--prompt", "x"), "an output is"),
    (("run", "in.jsonl", "-o", "nowhere/out.jsonl", "--prompt", "x"), "does not exist"),
    (("run", "in.jsonl", "-o", "in.jsonl", "--prompt", "x", "--base-url", NOWHERE), "the input itself"),
    ((*RUN, "--base-url", NOWHERE, "--model", "m"), "Say what to ask"),
    ((*RUN, "--base-url", NOWHERE, "--model", "m", "--prompt", "{txt}"), "the column 'txt'"),
    ((*RUN, "--prompt", "x", "--prompt-file", "in.jsonl"), "exclude each other"),
    ((*RUN, "--prompt", "x", "--schema", "no.json"), "--schema no.json: not JSON"),
    ((*RUN, "--prompt", "x", "--body", "gone.json"), "--body gone.json: No such file"),
    ((*RUN, "--prompt", "x", "--param", "temperature"), "not KEY=VALUE"),
    ((*RUN, "--prompt", "x", "--base-url", "host:80"), "must begin with http"),
    ((*RUN, "--prompt", "x"), "Say where to ask"),
    ((*RUN, "--prompt", "x", "--model", "gpt-none"), "'gpt-none' does not exist here"),
    ((*RUN, "--prompt", "x", "--config", "gone.yaml"), "gone.yaml does not exist"),
    (("worker", "--targets", "none"), "No target is named 'none'"),
    (("mock-model", "--fault-kind", "rust"), "No fault is named 'rust'"),
    (("jobs", "submit", "--model", "m"), "Say what to ask"),
    (("jobs", "submit", "--model", "m", "--body", "@gone.json"), "--body @gone.json: No such file"),
    (("jobs", "list", "--server", "ftp://host"), "must begin with http"),
    ((*RUN, "--prompt", "x", "--server", "host:8700"), "must begin with http"),
    (("run", "in.jsonl", "-o", "s3://b/out.csv", "--prompt", "x"), "writes no s3://"),
    ((*RUN, "--prompt", "x", "--model", "m", "--base-url", NOWHERE, "--budget-usd", "1"), "price_unknown"),
    (("batches", "create", "gone.jsonl"), "No such file"),
    (("dead-letters", "retry"), "Say which"),
]
EACH = """
import contextlib, io, json, os, sys
from forebay.cli.main import execute
ended = []
for arguments in json.loads(sys.argv[1]):
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = execute(arguments)
    ended.append({"code": code, "err": err.getvalue(), "has_output": os.path.exists("out.jsonl")})
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def wrong_usage(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every wrong command line, run by one process: starting one for each would take most of a minute."""
    folder = prepared(tmp_path_factory.mktemp("usage"))
    lines = json.dumps([arguments for arguments, _ in WRONG])
    ended = subprocess.run(
        [sys.executable, "-c", EACH, lines],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST_SECONDS,
    )
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepared(tmp_path)


def prepared(folder: Path) -> Path:
    write_lines(folder / "in.jsonl", [{"text": "a"}])
    (folder / "taken").mkdir()
    (folder / "no.json").write_text("{")
    return folder


HELP = """
import io, contextlib, sys
from forebay.cli.main import execute
for line in sys.argv[1:]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = execute([*line.split(), "--help"])
    shown = out.getvalue()
    assert code == 0 and "Example: forebay" in shown, line
    for option in ("--config", "--server", "--json", "--debug"):
        assert option in shown, (line, option)
"""


def test_every_command_has_help_with_an_example_and_the_common_options(folder: Path) -> None:
    lines = [" ".join(command) for command in COMMANDS]
    subprocess.run(
        [sys.executable, "-c", HELP, *lines],
        cwd=folder,
        env=environment(COLUMNS="200"),
        check=True,
        timeout=LONGEST_SECONDS,
    )


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[" ".join(arguments)[:60] for arguments, _ in WRONG])
def test_wrong_usage_is_exit_2_with_one_sentence(wrong_usage: list[dict[str, Any]], number: int) -> None:
    ended, sentence = wrong_usage[number], WRONG[number][1]
    assert ended["code"] == 2, ended
    assert sentence in ended["err"]
    assert len(ended["err"].strip().splitlines()) == 1
    assert not ended["has_output"]


def test_an_unwritable_folder_is_exit_2(folder: Path) -> None:
    if os.geteuid() == 0:
        arguments = ("run", "in.jsonl", "-o", "/proc/out.jsonl")  # root may write anywhere else
    else:
        (folder / "taken").chmod(0o500)
        arguments = ("run", "in.jsonl", "-o", "taken/out.jsonl")
    ended = forebay(*arguments, "--prompt", "x", "--model", "m", "--base-url", NOWHERE, cwd=folder)
    assert (ended.code, len(ended.err.strip().splitlines())) == (2, 1), ended.err


def test_common_options_stand_before_or_after_the_command(folder: Path) -> None:
    (folder / "f.yaml").write_text(json.dumps({"store": "sqlite:///s.db", "targets": {}}))
    before = forebay("--config", "f.yaml", "--json", "targets", "list", cwd=folder)
    after = forebay("targets", "list", "--json", "--config", "f.yaml", cwd=folder)
    between = forebay("targets", "--json", "list", "--config", "f.yaml", cwd=folder)
    assert (before.code, after.code, between.code) == (0, 0, 0), before.err
    assert before.json == after.json == between.json == {"object": "list", "data": []}


def test_a_traceback_is_shown_only_with_debug(folder: Path) -> None:
    quiet = forebay(*RUN, "--prompt", "x", "--config", "gone.yaml", cwd=folder)
    loud = forebay(*RUN, "--prompt", "x", "--config", "gone.yaml", "--debug", cwd=folder)
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err


def test_an_unreachable_server_is_exit_1_with_a_hint(folder: Path) -> None:
    for arguments in (("jobs", "list"), ("batches", "list"), ("dead-letters", "list"), ("jobs", "get", "job_1")):
        ended = forebay(*arguments, "--server", "http://127.0.0.1:9", cwd=folder)
        assert ended.code == 1
        assert "is `forebay serve` running" in ended.err
        assert len(ended.err.strip().splitlines()) == 1


def test_a_reader_that_goes_away_is_no_traceback(folder: Path) -> None:
    shell = f"{' '.join(COMMAND)} run --help | head -c 1 > /dev/null"
    ended = subprocess.run(
        ["bash", "-c", shell],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert ended.stderr == ""


def test_the_version_is_printed(folder: Path) -> None:
    ended = forebay("--version", cwd=folder)
    assert (ended.code, ended.out.startswith("forebay ")) == (0, True)


IMPORT = "import signal; signal.raise_signal(signal.SIGINT)"


def test_ctrl_c_while_the_commands_load_is_130_without_a_traceback(folder: Path) -> None:
    (folder / "msgspec.py").write_text(IMPORT)  # the first thing that loading asks for
    ended = forebay("doctor", cwd=folder, PYTHONPATH=str(folder))
    assert (ended.code, ended.out, ended.err) == (130, "", "")


def test_ctrl_c_ends_a_mock_model_with_130(folder: Path) -> None:
    with started("mock-model", "--port", "0", cwd=folder) as process:
        assert process.stdout is not None
        assert "mock model at" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
