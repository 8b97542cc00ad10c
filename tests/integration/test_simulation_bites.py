"""The simulation bites: each fault that is planted in the engine or its store is noticed within a few histories."""

from dataclasses import replace
from pathlib import Path

import pytest

from forebay.testing.simulation import run_history
from forebay.testing.simulation.plan import Plan, plan_of
from tests.integration.mutants.engine_mutants import MUTANTS, EngineMutant

[DECISION] = Path(__file__).parents[2].joinpath("docs/decisions").glob("*-the-simulation-bites.md")
MOST_HISTORIES = 150


def rough(seed: int) -> Plan:
    """Every other history is broken harder than it would be, so that rare faults show soon; and some longer, for who
    stands still is watched by one that lives on before its leases are taken.
    """
    plan = plan_of(seed)
    if seed % 4 != 1:  # lost replies in one of four: whoever asks again thins out what else happens
        plan = replace(plan, doubt_rate=0.0)
    if seed % 4 == 2:
        return replace(
            plan,
            workers=3,
            lease_seconds=2.0,
            poison=0.0,
            trouble_seconds=None,
            chaos_seconds=40.0,
            crash_rate=0.004,
            target_fault_rate=0.9,
        )
    if seed % 2:
        return plan
    return replace(
        plan,
        batches=2,
        poison=0.03,
        trouble_seconds=0.7,
        crash_rate=0.02,
        fault_rate=0.03,
        target_fault_rate=0.5,
        peace_seconds=300.0,
    )


def first_notice(mutant: EngineMutant) -> str | None:
    """The first sentence that says what is wrong."""
    for seed in range(MOST_HISTORIES):
        for violation in run_history(seed, rough(seed)).violations:
            if mutant.says in violation:
                return violation
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_simulation_notices(mutant: EngineMutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.breaks(monkeypatch)
    assert first_notice(mutant) is not None


def test_the_intact_engine_goes_through_the_same_histories() -> None:
    found = {seed: run_history(seed, rough(seed)).violations for seed in range(0, MOST_HISTORIES, 15)}
    assert not any(found.values()), found


def test_the_decision_lists_every_fault_with_what_notices_it() -> None:
    lines = DECISION.read_text().splitlines()
    for mutant in MUTANTS:
        [line] = [line for line in lines if line.startswith(f"| {mutant.name} |")]
        assert mutant.says in line
