"""A store whose replies get lost: a verb is committed, and its caller is told that the store is unavailable."""

import inspect
from collections.abc import Sequence
from typing import Any

from forebay.domain.change import Claimed, Verdict
from forebay.domain.errors import StoreUnavailable
from forebay.policy.lifecycle import hand_back
from forebay.ports import JobStore

REASON = "the reply was lost; it may have been done or not, try again"


class DoubtingJobs:
    """The real store; of each verb that ``lose`` names so many next replies are lost. ``lost`` counts them."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._left: dict[str, int] = {}
        self.lost: dict[str, int] = {}

    def lose(self, verb: str, times: int = 1) -> None:
        assert inspect.iscoroutinefunction(getattr(self._jobs, verb)), f"no verb: {verb!r}"
        self._left[verb] = self._left.get(verb, 0) + times

    def __getattr__(self, verb: str) -> Any:
        real = getattr(self._jobs, verb)
        if verb not in self._left:
            return real

        async def call(*arguments: Any, **options: Any) -> Any:
            reply = await real(*arguments, **options)
            if not self._left[verb] or (verb == "claim" and not reply):  # a claim of nothing leaves no doubt
                return reply
            self._left[verb] -= 1
            self.lost[verb] = self.lost.get(verb, 0) + 1
            if verb == "claim":
                await self._hand_back(reply)
            raise StoreUnavailable(REASON)

        return call

    async def _hand_back(self, claimed: Sequence[Claimed]) -> None:
        """What the port promises of a claim whose reply was lost; nobody else knows those leases."""
        changes = [hand_back(one, [], now=one.job.due_at) for one in claimed]
        assert set(await self._jobs.apply(changes)) <= {Verdict.APPLIED}
