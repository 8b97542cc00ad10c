"""Budgets: what a call may cost at most is reserved before it is sent, and corrected by what it did cost."""

import asyncio
import math
from collections import Counter
from typing import NamedTuple

from forebay.domain.answer import Answer, Failed, Snooze
from forebay.domain.attempt import Outcome
from forebay.domain.infer_args import Ceiling, infer_args
from forebay.domain.inference import Call
from forebay.domain.job import ErrorCode, Job, JobError, Status
from forebay.domain.pending import PENDING, job_id_of
from forebay.domain.query import JobQuery, Parts
from forebay.domain.target import TargetSpec
from forebay.engine.services import Services
from forebay.policy.pricing import maximal_cost_usd, prices_for
from forebay.policy.usage import estimate_request

USD, TOKENS = "USD", "tokens"
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
        """The budget that a job spends from, None if it has none. Lines of a batch share their parent's; those of a
        run's steps share the run's.
        """
        ceilings = ceilings_of(job)
        return Budget(job, ceilings, self) if ceilings else None

    def is_under_way(self, name: str) -> bool:
        return self._under_way[name] > 0

    def is_used_up(self, charge: "Charge") -> bool:
        """Whether a call that costs so much was refused when no other could give anything back: so it stays."""
        return charge.amount >= self._used_up.get(charge.told, math.inf)

    def use_up(self, charge: "Charge") -> None:
        self._used_up[charge.told] = min(charge.amount, self._used_up.get(charge.told, math.inf))
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


class Charge(NamedTuple):
    """What a call takes at most from one sum."""

    sum: str
    amount: float
    ceiling: float
    unit: str

    @property
    def told(self) -> str:
        """The sum under its ceiling: a run may be resumed with a larger one."""
        return f"{self.sum} {self.ceiling:g}"

    @property
    def refusal(self) -> str:
        amount = f"{self.amount:.6f}" if self.unit == USD else f"{self.amount:.0f}"
        return f"The budget of {self.ceiling:g} {self.unit} does not hold another call of up to {amount} {self.unit}"


class Budget:
    """One job's hold on its own budget, on its batch's, and on its run's."""

    def __init__(self, job: Job, ceilings: tuple[Ceiling, ...], budgets: Budgets) -> None:
        self._job = job
        self._ceilings = ceilings
        self._budgets = budgets
        self._services = budgets.services
        self._reserved: tuple[float, int] = 0.0, 0

    async def reserve(self, call: Call, spec: TargetSpec) -> Answer | None:
        """Reserves the most that the call can cost. Returns what is to be answered if it may not be sent.

        A reservation is mostly far above the cost: where others of the same budget are under way, what they give back
        is waited for, and only a budget that nothing comes back to is exceeded.
        """
        estimate = estimate_request(call.body, call.endpoint)
        cost = maximal_cost_usd(estimate, prices_for(spec, call.model, self._services.prices))
        if cost is None and any(one.usd is not None for one in self._ceilings):
            message = f"The price of {call.model or spec.name!r} is unknown, and there is a budget: set `prices`"
            return Failed(error=JobError(code=PRICE_UNKNOWN, message=message))
        wanted = cost or 0.0, estimate.total_tokens
        until = asyncio.get_running_loop().time() + min(PATIENCE_SECONDS, call.timeout_seconds / 2)
        while True:
            returned = self._budgets.returned  # before the charge: what comes back meanwhile is not missed
            refused = await self._charge(self._charges(wanted))
            if refused is None:
                self._hold(wanted)
                return None
            if not await self._may_come_back(refused):
                # What another process gave back between the charge and the look at its calls is there now.
                is_known = self._budgets.is_used_up(refused)
                if not is_known and await self._charge(self._charges(wanted)) is None:
                    self._hold(wanted)
                    return None
                self._budgets.use_up(refused)
                return Failed(error=JobError(code=ErrorCode.BUDGET_EXCEEDED, message=refused.refusal))
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                return Snooze(after_seconds=PATIENCE_SECONDS)
            await _wait(returned, min(left, LOOK_SECONDS))

    @property
    def name(self) -> str:
        return self._ceilings[0].name

    @property
    def reserved_usd(self) -> float:
        return self._reserved[0]

    @property
    def reserved_tokens(self) -> int:
        return self._reserved[1]

    def take_up(self, reserved_usd: float, reserved_tokens: int) -> None:
        """Goes on with what was reserved for work that goes on elsewhere."""
        self._hold((reserved_usd, reserved_tokens))

    async def settle(self, cost_usd: float | None, tokens: int | None) -> None:
        """Replaces the reservation by what it was; what is unknown leaves it."""
        usd, count = self._reserved
        spent = usd if cost_usd is None else cost_usd, count if tokens is None else tokens
        for charge in self._charges((spent[0] - usd, spent[1] - count)):
            if charge.amount:
                await self._services.limits.charge(charge.sum, charge.amount, charge.ceiling)

    def release(self) -> None:
        """The call is over, settled or not: nothing more comes back from it."""
        for charge in self._charges((0.0, 0)):
            self._budgets.leave(charge.sum)

    def _hold(self, reserved: tuple[float, int]) -> None:
        self._reserved = reserved
        for charge in self._charges(reserved):
            self._budgets.enter(charge.sum)

    def _charges(self, amounts: tuple[float, int]) -> list[Charge]:
        usd, tokens = amounts
        charges = [Charge(one.name, usd, one.usd, USD) for one in self._ceilings if one.usd is not None]
        counted = [one for one in self._ceilings if one.tokens is not None]
        return charges + [Charge(f"{one.name}:tokens", tokens, one.tokens or 0, TOKENS) for one in counted]

    async def _charge(self, charges: list[Charge]) -> Charge | None:
        """Takes from all sums or none. Returns the one that does not hold it."""
        for place, charge in enumerate(charges):
            if await self._services.limits.charge(charge.sum, charge.amount, charge.ceiling):
                continue
            for taken in charges[:place]:
                await self._services.limits.charge(taken.sum, -taken.amount, taken.ceiling)
            return charge
        return None

    async def _may_come_back(self, charge: Charge) -> bool:
        """Whether calls of the same budget are under way, here or (by the ledger) in another process."""
        if not self._job.parent_id or self._budgets.is_used_up(charge):
            return False
        if self._budgets.is_under_way(charge.sum) or await self._is_pending():
            return True
        is_shared = bool(infer_args(self._job.spec.args).budgets)  # by other groups' jobs too
        query = JobQuery(
            tenant=self._job.tenant,
            parent_id=None if is_shared else self._job.parent_id,
            statuses=frozenset({Status.RUNNING}),
            limit=SIBLINGS,
            parts=Parts(attempts=True),
        )
        names = {one.name for one in self._ceilings}
        for job in await self._services.jobs.find(query):
            is_called = job.attempts and job.attempts[-1].outcome is Outcome.RUNNING
            if is_called and names & {one.name for one in ceilings_of(job)}:
                return True
        return self._budgets.is_under_way(charge.sum)  # it began while the store was asked

    async def _is_pending(self) -> bool:
        """Whether work of this budget goes on elsewhere."""
        services, tenant = self._services, self._job.tenant
        if not infer_args(self._job.spec.args).budgets:
            return bool(await services.records.list(tenant, PENDING, limit=1, match={"budget": self.name}))
        names = {one.name for one in self._ceilings}
        records = await services.records.list(tenant, PENDING, limit=SIBLINGS)
        jobs = await services.jobs.get(tenant, [job_id_of(record) for record in records]) if records else []
        return any(job is not None and names & {one.name for one in ceilings_of(job)} for job in jobs)


def ceilings_of(job: Job) -> tuple[Ceiling, ...]:
    """What a job spends from."""
    args = infer_args(job.spec.args)
    if job.spec.budget_usd is None:
        return args.budgets
    name = args.family.budget if args.family else f"job:{job.parent_id or job.id}"
    return (Ceiling(name=name, usd=job.spec.budget_usd), *args.budgets)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
