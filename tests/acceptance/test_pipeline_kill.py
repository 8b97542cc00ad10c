"""A pipeline whose process is killed again and again, at every kind of instant: its output is that of an undisturbed
run, and no record is paid for twice beyond those in flight.
"""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.testing.processes import LONGEST_SECONDS

from .run_support import Mock, environment, forebay, mock_model, started

RECORDS = 40
CONCURRENCY = 4
MOST_TRIES = 10
SEED = 20261121
POINTS = ("apply.committed", "apply.asked", "blob.written", "record.committed", "call.answered", "claim.committed")
PIPELINES = """
store: sqlite:///forebay.db
targets:
  mock: {type: openai, base_url: "%s", models: [mock], limits: {concurrency: %d}}
pipelines:
  weekly:
    steps:
      load:  {read: in.csv}
      clean: {sql: "SELECT id, trim(text) AS text FROM load WHERE length(text) > 3"}
      label: {infer: {target: mock, prompt: "Classify: {text}"}, from: clean}
      count: {sql: "SELECT count(*) AS n, min(output) AS least FROM label"}
      told:  {infer_once: {target: mock, prompt: "Summarise {count}"}}
      save:  {write: labels.jsonl, from: label}
      sums:  {write: counts.jsonl, from: count, needs: [told]}
"""
OUTPUTS = ("labels.jsonl", "counts.jsonl")


def configure(folder: Path, mock: Mock) -> None:
    folder.mkdir()
    (folder / "forebay.yaml").write_text(PIPELINES % (mock.base_url, CONCURRENCY))
    rows = [f"{number},review number {number}" for number in range(RECORDS)]
    (folder / "in.csv").write_text("\n".join(["id,text", *rows]) + "\n")


def killed_at(point: str, hit: int, *arguments: str, cwd: Path) -> int:
    """Runs the command until it passes the point; returns how it ended."""
    armed = (sys.executable, "-m", "forebay.testing.crashing", "--at", point, "--hit", str(hit), "--")
    ended = subprocess.run(
        [*armed, *arguments], cwd=cwd, env=environment(), capture_output=True, timeout=LONGEST_SECONDS, check=False
    )
    assert ended.returncode in {0, -signal.SIGKILL}, ended.stderr.decode()
    return ended.returncode


@pytest.mark.slow
@pytest.mark.parametrize("is_resumed", [True, False])
def test_a_run_that_is_killed_at_any_instant_ends_as_an_undisturbed_one(tmp_path: Path, is_resumed: bool) -> None:
    with mock_model(tmp_path) as mock:
        calm = tmp_path / "calm"
        configure(calm, mock)
        assert forebay("pipelines", "run", "weekly", cwd=calm).code == 0
        expected = [(calm / name).read_bytes() for name in OUTPUTS]
        calls = mock.calls
        assert calls == RECORDS + 1
        mock.reset()
        folder = tmp_path / "killed"
        configure(folder, mock)
        command = ("pipelines", "run", "weekly")
        if is_resumed:
            begun = forebay(*command, "--detach", cwd=folder)
            command = ("pipelines", "run", "--resume", begun.out.strip())
        chance, kills = random.Random(SEED), 0
        for _ in range(MOST_TRIES):
            # A record that is killed twice while it is called alone is poison: so late, another one is met each time.
            point, hit = chance.choice(POINTS), chance.randint(5, 9) if is_resumed else chance.randint(1, 4)
            if killed_at(point, hit, *command, cwd=folder) == 0:
                break
            kills += 1
        else:
            assert forebay(*command, cwd=folder).code == 0
        assert kills >= 2
        assert [(folder / name).read_bytes() for name in OUTPUTS] == expected
        assert mock.calls <= calls + kills * CONCURRENCY
        assert not list(folder.glob("*.draft*"))


def test_ctrl_c_leaves_a_run_that_goes_on_with_resume(tmp_path: Path) -> None:
    with mock_model(tmp_path, "--latency-ms", "300") as mock:
        configure(tmp_path / "one", mock)
        with started("pipelines", "run", "weekly", "--json", cwd=tmp_path / "one") as process:
            assert process.stderr is not None
            assert "load: succeeded" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            told = process.stderr.read()
            assert process.wait(LONGEST_SECONDS) == 130
        run = told.rpartition("--resume ")[2].split()[0]
        ended = forebay("pipelines", "run", "--resume", run, "--json", cwd=tmp_path / "one")
        assert ended.code == 0
        assert ended.json["id"] == run
        assert mock.calls == RECORDS + 1
