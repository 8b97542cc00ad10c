"""The SQLite store beside the model of a store: in memory, and on a file with restarts of its process."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from forebay.ports import Clock
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.testing.conformance.machine import machine_for


async def in_memory(folder: Path, clock: Clock) -> SqliteStore:
    return await open_store(":memory:", clock=clock)


async def on_file(folder: Path, clock: Clock) -> SqliteStore:
    return await open_store(folder / "forebay.db", clock=clock)


QUICK = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    # To make a failing example small takes minutes: add Phase.shrink by hand when one was found.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)

TestInMemory = machine_for(in_memory, is_durable=False).TestCase
TestInMemory.settings = QUICK
TestOnFile = machine_for(on_file, is_durable=True).TestCase
TestOnFile.settings = settings(QUICK, max_examples=15)


@pytest.mark.slow
class TestDeeper(machine_for(in_memory, is_durable=False).TestCase):
    settings = settings(QUICK, max_examples=120, stateful_step_count=60)
