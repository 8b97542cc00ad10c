"""The simulated engine keeps its promises in every history, and a history is a function of its seed alone."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from forebay.cli.logging import set_up_logging
from forebay.testing.simulation import run_history
from forebay.testing.simulation.__main__ import report

HISTORIES, PER_TEST = 300, 20
SEEDS = (3, 11, 19)
PRINT = (
    "import sys; from forebay.testing.simulation import run_history; print(run_history(int(sys.argv[1])).fingerprint)"
)


@pytest.mark.parametrize("first", range(0, HISTORIES, PER_TEST))
def test_nothing_is_lost_or_doubled_whatever_breaks(first: int) -> None:
    outcomes = [run_history(seed) for seed in range(first, first + PER_TEST)]
    wrong = [report(outcome) for outcome in outcomes if outcome.violations]
    assert not wrong, "\n".join(wrong)
    assert any(outcome.calls for outcome in outcomes)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_is_the_same_history(seed: int) -> None:
    first, second = run_history(seed), run_history(seed)
    assert first.trace == second.trace
    assert first.fingerprint != run_history(seed + 1).fingerprint


def test_a_history_does_not_depend_on_the_hashes_of_its_process() -> None:
    def in_process(hash_seed: str) -> str:
        command = [sys.executable, "-c", PRINT, str(SEEDS[0])]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    assert {in_process(one) for one in ("0", "1", "77")} == {run_history(SEEDS[0]).fingerprint}


@pytest.fixture
def logging_of_a_command() -> Iterator[None]:
    """As a command leaves it that ran in this process, and was told to log errors alone."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level, of_asyncio = root.handlers, root.level, logging.getLogger("asyncio").level
    set_up_logging("error")
    yield
    structlog.configure(**before)
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(of_asyncio)


@pytest.mark.usefixtures("logging_of_a_command")
def test_a_history_is_the_same_in_a_process_in_which_a_command_set_up_its_log() -> None:
    [expected] = {run_history(seed).fingerprint for seed in SEEDS[:1]}
    structlog.reset_defaults()
    assert run_history(SEEDS[0]).fingerprint == expected
