"""The conformance suite bites: each way of breaking the store is noticed by the tests that should notice it."""

from contextlib import AbstractAsyncContextManager

import pytest

from forebay.domain.errors import ForebayError
from forebay.ports import Clock
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.testing.conformance.suite import JobStoreSuite
from forebay.testing.conformance.world import World, opened
from tests.integration.mutants.sqlite_mutants import MUTANTS, Mutant, Test

# How a test says no: an assertion, no error where one is due, an unpacking of another number of things, a failed verb.
NOTICED = (AssertionError, pytest.fail.Exception, ValueError, ForebayError)


def a_world() -> AbstractAsyncContextManager[World]:
    async def open_it(clock: Clock) -> SqliteStore:
        return await open_store(":memory:", clock=clock)

    return opened(open_it)


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
