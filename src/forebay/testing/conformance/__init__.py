"""The published conformance suites: they are the specification of JobStore, RecordStore, LimitStore and BlobStore.

A back end's test module gives a fixture ``world`` and subclasses the suites; nothing is skipped for any back end, what
may differ is declared in ``StoreFacts``. Needs pytest, pytest-asyncio (``asyncio_mode = auto``) and Hypothesis::

    from forebay.testing.conformance.suite import JobStoreSuite, LimitStoreSuite, RecordStoreSuite
    from forebay.testing.conformance.world import World, opened

    @pytest.fixture
    async def world(tmp_path: Path) -> AsyncIterator[World]:
        async with opened(lambda clock: open_store(tmp_path / "store.db", clock=clock)) as world:
            yield world

    class TestJobs(JobStoreSuite): ...
    class TestRecords(RecordStoreSuite): ...
    class TestLimits(LimitStoreSuite): ...

A store that keeps its data when it is closed subclasses ``DurableStoreSuite`` too; the state machine is
``machine_for(open_store)``. A blob store gives a fixture ``blobs`` (a ``BlobWorld``) and subclasses ``BlobStoreSuite``.
"""

import pkgutil

import pytest

# pytest explains the assertions of modules that it was told of before they are imported.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
