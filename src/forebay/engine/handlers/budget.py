"""Budgets: what a call may cost at most is reserved before it is sent, and corrected by what it did cost."""

import asyncio
import math
from collections import Counter

from forebay.domain.answer import Answer, Failed, Snooze
from forebay.domain.attempt import Outcome
from forebay.domain.infer_args import infer_args
from forebay.domain.inference import Call
from forebay.domain.job import ErrorCode, Job, JobError, Status
from forebay.domain.pending import PENDING
from forebay.domain.query import JobQuery, Parts
from forebay.domain.target import TargetSpec
from forebay.engine.services import Services
from forebay.policy.pricing import maximal_cost_usd, prices_for
from forebay.policy.usage import estimate_request

PRICE_UNKNOWN = "price_unknown"
PATIENCE_SECONDS = 5.0  # how long a line keeps its slot while other calls of its budget are under way
LOOK_SECONDS = 1.0  # how often it looks whether those of other processes have ended
MOST_REMEMBERED = 1000  # budgets that are used up
SIBLINGS = 1000  # running lines of one budget that are looked at


class Budgets:
    """The budgets of one worker process: which have calls under way, and which are used up."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.returned = asyncio.Event()  # set, and replaced, when a call of any budget has ended
        self._under_way: Counter[str] = Counter()
        self._used_up: dict[str, float] = {}  # the least that a call would have cost when nothing was under way

    def of(self, job: Job) -> "Budget | None":
        """The budget that a job spends from, None if it has none. Lines of a batch share their parent's."""
        return None if job.spec.budget_usd is None else Budget(job, job.spec.budget_usd, self)

    def is_under_way(self, name: str) -> bool:
        return self._under_way[name] > 0

    def is_used_up(self, name: str, cost_usd: float) -> bool:
        """Whether a call that costs so much was refused when no other could give anything back: so it stays."""
        return cost_usd >= self._used_up.get(name, math.inf)

    def use_up(self, name: str, cost_usd: float) -> None:
        self._used_up[name] = min(cost_usd, self._used_up.get(name, math.inf))
        if len(self._used_up) > MOST_REMEMBERED:
            del self._used_up[next(iter(self._used_up))]

    def enter(self, name: str) -> None:
        self._under_way[name] += 1

    def leave(self, name: str) -> None:
        self._under_way[name] -= 1
        if not self._under_way[name]:
            del self._under_way[name]
        self.returned.set()
        self.returned = asyncio.Event()


class Budget:
    """One job's hold on its own budget, or on its batch's."""

    def __init__(self, job: Job, ceiling_usd: float, budgets: Budgets) -> None:
        self._job = job
        family = infer_args(job.spec.args).family
        self._name = family.budget if family else f"job:{job.parent_id or job.id}"
        self._ceiling_usd = ceiling_usd
        self._budgets = budgets
        self._services = budgets.services
        self._reserved_usd = 0.0

    async def reserve(self, call: Call, spec: TargetSpec) -> Answer | None:
        """Reserves the most that the call can cost. Returns what is to be answered if it may not be sent.

        A reservation is mostly far above the cost: where others of the same budget are under way, what they give back
        is waited for, and only a budget that nothing comes back to is exceeded.
        """
        prices = prices_for(spec, call.model, self._services.prices)
        cost = maximal_cost_usd(estimate_request(call.body, call.endpoint), prices)
        if cost is None:
            message = f"The price of {call.model or spec.name!r} is unknown, and there is a budget: set `prices`"
            return Failed(error=JobError(code=PRICE_UNKNOWN, message=message))
        until = asyncio.get_running_loop().time() + min(PATIENCE_SECONDS, call.timeout_seconds / 2)
        while True:
            returned = self._budgets.returned  # before the charge: what comes back meanwhile is not missed
            if await self._services.limits.charge(self._name, cost, self._ceiling_usd):
                self._reserved_usd = cost
                self._budgets.enter(self._name)
                return None
            if not await self._may_come_back(cost):
                message = f"The budget of {self._ceiling_usd} USD does not hold another call of up to {cost:.6f} USD"
                return Failed(error=JobError(code=ErrorCode.BUDGET_EXCEEDED, message=message))
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                return Snooze(after_seconds=PATIENCE_SECONDS)
            await _wait(returned, min(left, LOOK_SECONDS))

    @property
    def name(self) -> str:
        return self._name

    @property
    def reserved_usd(self) -> float:
        return self._reserved_usd

    def take_up(self, reserved_usd: float) -> None:
        """Goes on with what was reserved for work that goes on elsewhere."""
        self._reserved_usd = reserved_usd
        self._budgets.enter(self._name)

    async def settle(self, cost_usd: float | None) -> None:
        """Replaces the reservation by the real cost; an unknown cost leaves it."""
        if cost_usd is not None:
            await self._services.limits.charge(self._name, cost_usd - self._reserved_usd, self._ceiling_usd)

    def release(self) -> None:
        """The call is over, settled or not: nothing more comes back from it."""
        self._budgets.leave(self._name)

    async def _may_come_back(self, cost_usd: float) -> bool:
        """Whether calls of the same budget are under way, here or (by the ledger) in another process."""
        if not self._job.parent_id or self._budgets.is_used_up(self._name, cost_usd):
            return False
        if self._budgets.is_under_way(self._name) or await self._is_pending():
            return True
        query = JobQuery(
            tenant=self._job.tenant,
            parent_id=self._job.parent_id,
            statuses=frozenset({Status.RUNNING}),
            limit=SIBLINGS,
            parts=Parts(attempts=True),
        )
        siblings = await self._services.jobs.find(query)
        if any(job.attempts and job.attempts[-1].outcome is Outcome.RUNNING for job in siblings):
            return True
        if self._budgets.is_under_way(self._name):  # it began while the store was asked
            return True
        self._budgets.use_up(self._name, cost_usd)
        return False

    async def _is_pending(self) -> bool:
        """Whether work of this budget goes on elsewhere."""
        match = {"budget": self._name}
        return bool(await self._services.records.list(self._job.tenant, PENDING, limit=1, match=match))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
