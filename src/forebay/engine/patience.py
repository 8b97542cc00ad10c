"""Patience: what is paid for is written however long the store is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from forebay.domain.errors import StoreDamaged, StoreUnavailable

log = structlog.get_logger(__name__)
T = TypeVar("T")
STORE_PAUSE_SECONDS = 0.5  # between tries


async def until_stored(verb: str, step: Callable[[], Awaitable[T]]) -> T:
    """Repeats the step until the store takes it; ends by cancellation.

    Raises: StoreDamaged: waiting would not help.
    """
    while True:
        try:
            return await step()
        except StoreDamaged:
            raise
        except StoreUnavailable as unavailable:
            log.error("store_unavailable", verb=verb, reason=str(unavailable))  # noqa: TRY400
            await asyncio.sleep(STORE_PAUSE_SECONDS)
