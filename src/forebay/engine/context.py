"""Context: what a handler has while it holds a lease; and Handler, the one type that everything here composes by."""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from forebay.domain.answer import Answer
from forebay.domain.attempt import Attempt
from forebay.domain.change import Claimed, Verdict
from forebay.domain.errors import LeaseLost, StoreUnavailable
from forebay.domain.job import Job
from forebay.engine.services import Services
from forebay.policy.lifecycle import broken_off

UNSENT = "The store did not say that the call was begun; nothing was sent"
Begin = Callable[[Attempt], Awaitable[Verdict]]


class Context:
    """One run of one job. ``is_stopping``: the job was asked to end, or the worker lost its lease."""

    __slots__ = ("_begin", "attempts", "claimed", "is_stopping", "services")

    def __init__(self, claimed: Claimed, services: Services, begin: Begin) -> None:
        self.claimed = claimed
        self.services = services
        self.is_stopping = False
        self.attempts: dict[int, Attempt] = {}
        self._begin = begin

    async def begin(self, attempt: Attempt) -> None:
        """Writes the attempt into the ledger; only then may its call be sent.

        Raises: LeaseLost, StoreUnavailable: send nothing.
        """
        # Before the reply: a begin whose caller is cancelled is committed all the same, and would stand as running.
        self.attempts[attempt.number] = attempt
        try:
            verdict = await self._begin(attempt)
        except StoreUnavailable:
            # It may have been written all the same, and would stand as running when the job has long been run again.
            now = self.services.clock.now()
            self.attempts[attempt.number] = replace(broken_off(attempt, now=now), error=UNSENT)
            raise
        if verdict is Verdict.LEASE_LOST:
            del self.attempts[attempt.number]
            raise LeaseLost(f"the lease of {attempt.job_id!r} was taken by another worker: drop the job")

    def complete(self, attempt: Attempt) -> None:
        """Keeps the completed attempt; it is written in the transaction of the answer."""
        self.attempts[attempt.number] = attempt


Handler = Callable[[Job, Context], Awaitable[Answer]]
