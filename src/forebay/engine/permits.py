"""Permits: what a worker may send now under a target's rates, reserved from the shared limit in blocks."""

from forebay.domain.target import Limits
from forebay.policy.lanes import block_size
from forebay.ports import LimitStore, Rate

BURST_SECONDS = 0.2  # how much of a minute's allowance may come at once
SECONDS_PER_MINUTE = 60.0


class Permits:
    """One rate, of requests or tokens. ``available`` may fall below zero: that debt is paid before more is sent."""

    def __init__(self, limits: LimitStore, name: str, per_minute: float) -> None:
        per_second = per_minute / SECONDS_PER_MINUTE
        self._limits = limits
        self._rate = Rate(name=name, per_second=per_second, burst=max(1.0, per_second * BURST_SECONDS))
        self._block = block_size(per_second)
        self.available = 0.0
        self.retry_at = 0.0
        self._asked_at = 0.0

    async def refill(self, now: float) -> None:
        """Reserves a block if there is less than one left, and any debt with it."""
        is_clock_back = now < self._asked_at  # then the time to ask again is far off, and means nothing
        if self.available >= self._block or (now < self.retry_at and not is_clock_back):
            return
        self._asked_at = now
        grant = await self._limits.reserve(self._rate, self._block - min(self.available, 0.0))
        self.available += grant.granted
        self.retry_at = grant.retry_at if self.available < 1.0 else now

    def take(self, amount: float) -> None:
        self.available -= amount

    async def close(self) -> None:
        """Returns what was reserved and not used, or leaves its debt to the others."""
        if self.available:
            await self._limits.give_back(self._rate, self.available)
            self.available = 0.0


def permits_for(target: str, limits: Limits, store: LimitStore) -> tuple[Permits | None, Permits | None]:
    """The permits for requests and for tokens of a target; None where it has no such limit."""
    requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
    return (
        Permits(store, f"requests:{target}", requests) if requests else None,
        Permits(store, f"tokens:{target}", tokens) if tokens else None,
    )
