"""Context: what a handler has while it holds a lease; and Handler, the one type that everything here composes by."""

import asyncio
from collections.abc import Awaitable, Callable

from forebay.domain.answer import Answer
from forebay.domain.attempt import Attempt
from forebay.domain.change import Claimed
from forebay.domain.errors import LeaseLost, StoreUnavailable
from forebay.domain.job import Job
from forebay.engine.services import Services

Begin = Callable[[Attempt], Awaitable[None]]


class Context:
    """One run of one job. ``stopping`` is set when the job was asked to end, or the worker drains past its limit."""

    __slots__ = ("_begin", "attempts", "claimed", "services", "stopping")

    def __init__(self, claimed: Claimed, services: Services, begin: Begin) -> None:
        self.claimed = claimed
        self.services = services
        self.stopping = asyncio.Event()
        self.attempts: dict[int, Attempt] = {}
        self._begin = begin

    async def begin(self, attempt: Attempt) -> None:
        """Writes the attempt into the ledger; only then may its call be sent.

        Raises: LeaseLost, StoreUnavailable: send nothing.
        """
        # Before the reply: a begin whose caller is cancelled is committed all the same, and would stand as running.
        self.attempts[attempt.number] = attempt
        try:
            await self._begin(attempt)
        except (LeaseLost, StoreUnavailable):
            del self.attempts[attempt.number]
            raise

    def complete(self, attempt: Attempt) -> None:
        """Keeps the completed attempt; it is written in the transaction of the answer."""
        self.attempts[attempt.number] = attempt


Handler = Callable[[Job, Context], Awaitable[Answer]]
