"""What holds for every test process."""

import gc

import pytest

GC_THRESHOLDS = (20_000, 20, 100)  # a process that ran a thousand tests has a large heap: whole collections are dear


def pytest_collection_finish(session: pytest.Session) -> None:
    """Takes thousands of collected tests out of the collector's sight."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
