"""What a tenant may still hand in: requests a minute, over all processes, and jobs that have not ended, nearly so."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence

from forebay.domain.change import Added
from forebay.domain.errors import TooMany
from forebay.domain.job import Job
from forebay.domain.tenant import TenantSpec, spec_of
from forebay.engine.services import Services
from forebay.ports import Rate

MINUTE = 60.0
BLOCK_SECONDS = 0.1  # how much of a tenant's rate a process takes at once
COUNT_SECONDS = 1.0  # between two counts of a tenant's jobs, while there is room
RECOUNT_SECONDS = 0.1  # while there is none
REST = 20  # times its own length passes between two counts: at most 5 % of a reader's time
QUEUE_FULL = "queue_full"


class Quotas:
    """One process's part of every tenant's limits. A tenant without limits costs a look-up."""

    def __init__(self, services: Services, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._monotonic = monotonic
        self._rates: dict[str, _Allowance] = {}
        self._rooms: dict[str, _Room] = {}

    async def take(self, tenant: str) -> None:
        """Takes a place for one job that is to be made; ``add`` or ``give_back`` follows, whatever happens.

        Raises: TooMany: with the seconds to wait; no place was taken.
        """
        spec = spec_of(tenant, self._services.tenants)
        if spec.max_queued is None and spec.requests_per_minute is None:
            return
        if spec.max_queued is not None:
            room = self._rooms.get(tenant)
            if room is None:
                room = self._rooms[tenant] = _Room(tenant, spec.max_queued, self._services, self._monotonic)
            await room.take()
        if spec.requests_per_minute is not None:
            try:
                await self._allowance(tenant, spec).take()
            except TooMany:
                if (room := self._rooms.get(tenant)) is not None:
                    room.give_back()
                raise

    async def making(self, tenant: str, make: Callable[[], Awaitable[Job]]) -> Job:
        """Takes a place and makes the job for it; ``add`` follows. Raises: TooMany; what ``make`` raises."""
        await self.take(tenant)
        try:
            return await make()
        except BaseException:
            self.give_back(tenant)
            raise

    async def add(self, jobs: Sequence[Job]) -> list[Added]:
        """Adds jobs of one tenant, each of which has a place; the place of one that is not new is given back."""
        if not jobs:
            return []
        try:
            replies = await self._services.jobs.add(jobs)
        except BaseException:
            self.give_back(jobs[0].tenant, len(jobs))
            raise
        new = sum(reply.is_new for reply in replies)
        if (room := self._rooms.get(jobs[0].tenant)) is not None:
            room.note_made(new)
        if new < len(jobs):
            self.give_back(jobs[0].tenant, len(jobs) - new)
        return replies

    def give_back(self, tenant: str, count: int = 1) -> None:
        """So many places made no job."""
        if (room := self._rooms.get(tenant)) is not None:
            room.give_back(count)
        if (allowance := self._rates.get(tenant)) is not None:
            allowance.give_back(count)

    def _allowance(self, tenant: str, spec: TenantSpec) -> "_Allowance":
        allowance = self._rates.get(tenant)
        if allowance is None:
            a_minute = spec.requests_per_minute or 1.0
            rate = Rate(name=f"tenant:{tenant}:requests", per_second=a_minute / MINUTE, burst=max(a_minute, 1.0))
            allowance = self._rates[tenant] = _Allowance(rate, self._services, self._monotonic)
        return allowance


class _Allowance:
    """Requests that this process has taken from the tenant's rate and not used yet."""

    def __init__(self, rate: Rate, services: Services, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._services = services
        self._monotonic = monotonic
        self._block = max(1.0, rate.per_second * BLOCK_SECONDS)
        self._left = 0.0
        self._empty_until = 0.0

    async def take(self) -> None:
        if self._left < 1 and self._monotonic() >= self._empty_until:
            grant = await self._services.limits.reserve(self._rate, self._block)
            self._left += grant.granted
            if self._left < 1:  # until then nobody asks the store in vain
                missing = (1 - self._left) / self._rate.per_second
                self._empty_until = self._monotonic() + missing
        if self._left < 1:
            message = f"More than {self._rate.per_second * MINUTE:g} requests a minute"
            raise _too_many(message, self._empty_until - self._monotonic())
        self._left -= 1

    def give_back(self, count: int) -> None:
        self._left += count


class _Room:
    """How many of a tenant's jobs have not ended: what the store counted, and what was let in here since."""

    def __init__(self, tenant: str, most: int, services: Services, monotonic: Callable[[], float]) -> None:
        self._tenant = tenant
        self._most = most
        self._services = services
        self._monotonic = monotonic
        self._counted = 0
        self._made = 0  # since the count began
        self._pending = 0  # places of jobs that are on their way to the store
        self._counted_at: float | None = None
        self._took_seconds = 0.0

    async def take(self) -> None:
        if self._is_stale(COUNT_SECONDS) or (self._is_full and self._is_stale(RECOUNT_SECONDS)):
            await self._count()
        if self._is_full:
            message = f"The tenant has {self._most} jobs that have not ended, as many as it may"
            raise _too_many(message, max(COUNT_SECONDS, REST * self._took_seconds), QUEUE_FULL)
        self._pending += 1

    def note_made(self, count: int) -> None:
        self._pending -= count
        self._made += count

    def give_back(self, count: int = 1) -> None:
        self._pending -= count

    @property
    def _is_full(self) -> bool:
        return self._counted + self._made + self._pending >= self._most

    def _is_stale(self, seconds: float) -> bool:
        if self._counted_at is None:
            return True
        return self._monotonic() - self._counted_at > max(seconds, REST * self._took_seconds)

    async def _count(self) -> None:
        began, before = self._monotonic(), self._made
        self._counted_at = began  # those that come meanwhile go on with the last count
        self._counted = await self._services.jobs.backlog(self._tenant, self._most)
        self._made -= before  # they are in the count
        self._took_seconds = self._monotonic() - began


def _too_many(message: str, seconds: float, code: str | None = None) -> TooMany:
    """The message tells the time as well: a line, an event or a socket's message has no `Retry-After`."""
    return TooMany(f"{message}; send it again in {max(1, math.ceil(seconds))} s", retry_after=seconds, code=code)
