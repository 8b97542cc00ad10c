"""Budgets: what a call may cost at most is reserved before it is sent, and corrected by what it did cost."""

from forebay.domain.inference import Call
from forebay.domain.job import ErrorCode, Job, JobError
from forebay.domain.target import TargetSpec
from forebay.engine.services import Services
from forebay.policy.pricing import maximal_cost_usd, prices_for
from forebay.policy.usage import estimate_request

PRICE_UNKNOWN = "price_unknown"


class Budget:
    """The budget that a job spends from: its own, or its batch's (``spec.args.budget``)."""

    def __init__(self, name: str, ceiling_usd: float, services: Services) -> None:
        self._name = name
        self._ceiling_usd = ceiling_usd
        self._services = services
        self._reserved_usd = 0.0

    @classmethod
    def of(cls, job: Job, services: Services) -> "Budget | None":
        """The job's budget, None if it has none. Lines of a batch share the one that is named after their parent."""
        if job.spec.budget_usd is None:
            return None
        return cls(f"job:{job.parent_id or job.id}", job.spec.budget_usd, services)

    async def reserve(self, call: Call, spec: TargetSpec) -> JobError | None:
        """Reserves the most that the call can cost. Returns why it may not be sent, if so."""
        prices = prices_for(spec, call.model, self._services.prices)
        cost = maximal_cost_usd(estimate_request(call.body, call.endpoint), prices)
        if cost is None:
            message = f"The price of {call.model or spec.name!r} is unknown, and there is a budget: set `prices`"
            return JobError(code=PRICE_UNKNOWN, message=message)
        if not await self._services.limits.charge(self._name, cost, self._ceiling_usd):
            message = f"The budget of {self._ceiling_usd} USD does not hold another call of up to {cost:.6f} USD"
            return JobError(code=ErrorCode.BUDGET_EXCEEDED, message=message)
        self._reserved_usd = cost
        return None

    async def settle(self, cost_usd: float | None) -> None:
        """Replaces the reservation by the real cost; an unknown cost leaves it."""
        if cost_usd is not None:
            await self._services.limits.charge(self._name, cost_usd - self._reserved_usd, self._ceiling_usd)
