"""The conformance suite bites: each way of breaking the store is noticed by the tests that should notice it."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from forebay.domain.errors import ForebayError
from forebay.ports import Clock
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.testing.conformance.machine import machine_for
from forebay.testing.conformance.suite import JobStoreSuite
from forebay.testing.conformance.world import World, opened
from tests.integration.mutants.sqlite_mutants import MUTANTS, Mutant, Test

DECISION = Path(__file__).parents[2] / "docs/decisions/0004-the-suite-bites.md"
# How a test says no: an assertion, no error where one is due, an unpacking of another number of things, a failed verb.
NOTICED = (AssertionError, pytest.fail.Exception, ValueError, ForebayError)
FIRST_FAILURE = settings(
    max_examples=600,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
MACHINE_NOTICES = {
    "apply accepts any fence of the job",
    "begin accepts any fence of the job",
    "keys are not unique",
    "a join is met while children are live",
    "recover wakes no parent of a crash",
    "a cancel writes no outbox",
    "an ended parent leaves its children alone",
    "suspects are claimed beside others",
    "a lane's cap is ignored",
}


def a_world() -> AbstractAsyncContextManager[World]:
    async def open_it(clock: Clock) -> SqliteStore:
        return await open_store(":memory:", clock=clock)

    return opened(open_it)


async def in_memory(folder: Path, clock: Clock) -> SqliteStore:
    return await open_store(":memory:", clock=clock)


def cases() -> list[object]:
    return [
        pytest.param(mutant, test, id=f"{mutant.name}: {test.__name__}")
        for mutant in MUTANTS
        for test in mutant.caught_by
    ]


@pytest.mark.parametrize(("mutant", "test"), cases())
async def test_the_suite_notices(mutant: Mutant, test: Test, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_world() as world:
        await test(JobStoreSuite(), world)
    mutant.breaks(monkeypatch)
    async with a_world() as world:
        with pytest.raises(NOTICED):
            await test(JobStoreSuite(), world)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [one for one in MUTANTS if one.name in MACHINE_NOTICES], ids=lambda one: one.name)
def test_the_state_machine_notices(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.breaks(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine_for(in_memory, is_durable=False), settings=FIRST_FAILURE)


def test_the_decision_lists_every_mutant_with_the_tests_that_notice_it() -> None:
    lines = DECISION.read_text().splitlines()
    for mutant in MUTANTS:
        [line] = [line for line in lines if line.startswith(f"| {mutant.name} |")]
        assert all(test.__qualname__ in line for test in mutant.caught_by)
        assert line.endswith("| yes |") == (mutant.name in MACHINE_NOTICES)
