"""Permits: what a worker may send now under a target's rates, booked with the shared limit in blocks."""

from forebay.domain.target import TargetSpec
from forebay.policy.lanes import block_size
from forebay.ports import Clock, LimitStore, Rate

BURST_SECONDS = 0.2  # how much of a minute's allowance may come at once
AHEAD_SECONDS = 10.0  # so many workers by a block's time have their turns without asking in vain
SECONDS_PER_MINUTE = 60.0
ROUNDING = 1e-6


class Permits:
    """One rate, of requests or tokens. ``available`` may fall below zero: that debt is paid before more is sent.

    One block is in use and at most one is booked: whatever the number of workers, there are as many writes as blocks.
    """

    def __init__(self, limits: LimitStore, name: str, per_minute: float, clock: Clock) -> None:
        per_second = per_minute / SECONDS_PER_MINUTE
        self._limits = limits
        self._clock = clock
        self._rate = Rate(name=name, per_second=per_second, burst=max(1.0, per_second * BURST_SECONDS))
        self._block = block_size(per_second)
        self.available = 0.0
        self.more_at = 0.0  # when what is booked may be used, or when to ask again
        self._piece = 1.0
        self._booked = 0.0
        self._asked_at = 0.0

    @property
    def pieces(self) -> int:
        """For how many calls there is enough."""
        return max(0, int(self.available / self._piece + ROUNDING))

    async def refill(self, now: float, piece: float = 1.0) -> None:
        """Takes over what was booked, and books a block if there is not enough for another call of the size of
        ``piece``, and any debt with it.
        """
        self._piece = piece
        if now < self.more_at and now >= self._asked_at:  # else the clock was set back: that time is far off
            return
        self.available += self._booked
        self._booked = 0.0
        if self.pieces and self.available >= self._block - ROUNDING:
            return
        amount = max(self._block, piece) - min(self.available, 0.0)
        grant = await self._limits.reserve(self._rate, amount, AHEAD_SECONDS)
        self._asked_at = self._clock.now()
        self.more_at = self._asked_at + grant.wait_seconds
        if grant.wait_seconds > 0:
            self._booked = grant.granted
        else:
            self.available += grant.granted

    def take(self, amount: float) -> None:
        self.available -= amount

    async def close(self) -> None:
        """Returns what was reserved and not used, or leaves its debt to the others."""
        left = self.available + self._booked
        if left:
            await self._limits.give_back(self._rate, left)
            self.available = self._booked = 0.0


def permits_for(spec: TargetSpec, store: LimitStore, clock: Clock) -> tuple[Permits | None, Permits | None]:
    """The permits for requests and for tokens of a target; None where it has no such limit."""
    requests, tokens = spec.limits.requests_per_minute, spec.limits.tokens_per_minute
    return (
        Permits(store, f"requests:{spec.name}", requests, clock) if requests else None,
        Permits(store, f"tokens:{spec.name}", tokens, clock) if tokens else None,
    )
