"""What the engine logs while it is simulated, told to the world."""

import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog


@contextmanager
def heard(hear: Callable[[str, str, str], None]) -> Iterator[None]:
    """Sends the log of this block (method, event, fields) to the listener, and puts the settings back after it."""

    def listen(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        words = [f"{name}={value}" for name, value in event.items() if name not in {"event", "exc_info"}]
        error = sys.exc_info()[1] if event.get("exc_info") else None
        if error is not None:  # what `log.exception` was told of
            words.append(f"{type(error).__name__}: {error}")
        hear("exception" if error is not None else method, str(event["event"]), " ".join(words))
        raise structlog.DropEvent

    before = structlog.get_config()
    every = structlog.make_filtering_bound_logger(0)
    structlog.configure(processors=[listen], wrapper_class=every, cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
