"""What holds for every test process."""

import gc
import os

import pytest
from hypothesis import settings

#: The same examples in every run, however slow the machine is: a change breaks a test, and never the day. FOREBAY_FUZZ
#: tries others.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("searching", deadline=None, print_blob=True)
settings.load_profile("searching" if os.environ.get("FOREBAY_FUZZ") else "repeatable")

GC_THRESHOLDS = (20_000, 20, 100)  # a process that ran a thousand tests has a large heap: whole collections are dear


def pytest_collection_finish(session: pytest.Session) -> None:
    """Takes thousands of collected tests out of the collector's sight."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
