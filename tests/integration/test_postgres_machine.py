"""The PostgreSQL store beside the model of a store, with restarts of its process."""

from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

from forebay.ports import Clock
from forebay.stores.postgres import PostgresStore
from forebay.testing.conformance.machine import machine_for
from tests.integration.postgres_house import empty_place, opened_at, server


async def in_database(folder: Path, clock: Clock) -> PostgresStore:
    """Empty where the folder is new; the folder's mark tells a restart from a new example."""
    mark = folder / "opened"
    place = await empty_place(server().url(), is_new=not mark.exists())
    mark.touch()
    return await opened_at(place, clock)


QUICK = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to make a failing example small takes minutes
)

TestMachine = machine_for(in_database, is_durable=True).TestCase
TestMachine.settings = QUICK
