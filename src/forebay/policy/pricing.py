"""What a call cost, and what it may cost at most, in USD. Pure: prices come in as records.

Called by targets (the cost of an answer) and by the engine (budgets). An unknown price is None, never 0.
"""

from collections.abc import Callable
from functools import lru_cache

from forebay.domain.attempt import Usage
from forebay.domain.record import Record
from forebay.domain.target import Prices, TargetSpec, TargetType
from forebay.policy.usage import Estimate, Metering

TOKENS_PER_PRICE = 1_000_000
ANTHROPIC_URL = "https://api.anthropic.com"  # where a target of that type names no base_url


class Tier(Record, frozen=True, kw_only=True):
    """From more than ``above_tokens`` of input on, ALL tokens of the call have this price."""

    above_tokens: int
    usd: float


class Price(Record, frozen=True, kw_only=True):
    """USD per million tokens, with steps by the length of the input in ascending order."""

    usd: float
    tiers: tuple[Tier, ...] = ()

    def at(self, input_tokens: int) -> float:
        usd = self.usd
        for tier in self.tiers:
            if input_tokens > tier.above_tokens:
                usd = tier.usd
        return usd


class ModelPrices(Record, frozen=True, kw_only=True):
    """The prices of one model. What is None costs as plain input does."""

    input: Price
    output: Price
    cached_input: Price | None = None
    cache_write: Price | None = None
    cache_write_hour: Price | None = None


FREE = ModelPrices(input=Price(usd=0.0), output=Price(usd=0.0))

_FREE_TYPES = frozenset({TargetType.LOCAL, TargetType.SQL, TargetType.SEARCH})

#: Looks up list prices by the target's address, the model and the service tier; None: unknown.
PriceTable = Callable[[str, str, str | None], ModelPrices | None]


def prices_for(
    spec: TargetSpec, model: str | None, table: PriceTable, service_tier: str | None = None
) -> ModelPrices | None:
    """Returns what the target's declaration says, else what the table knows; local models and data sources are free."""
    if spec.type in _FREE_TYPES:
        return FREE
    if spec.prices is not None:
        return declared(spec.prices)
    base_url = spec.base_url or (ANTHROPIC_URL if spec.type is TargetType.ANTHROPIC else None)
    if base_url is None or model is None:
        return None
    return table(base_url, model, service_tier)


@lru_cache(maxsize=256)
def declared(prices: Prices) -> ModelPrices:
    """Turns a declaration into prices."""
    cached = prices.cached_input
    return ModelPrices(
        input=Price(usd=prices.input),
        output=Price(usd=prices.output),
        cached_input=None if cached is None else Price(usd=cached),
    )


def cost_usd(metering: Metering, prices: ModelPrices | None) -> float | None:
    """Returns what an answer cost: nothing if ``prices`` is FREE; None if its usage or price is unknown, or if it has
    audio or images.
    """
    if prices is FREE:
        return 0.0
    usage = metering.usage
    if usage is None or prices is None:
        return None
    if metering.other_tokens:
        return None  # priced apart, by lists that ModelPrices does not have
    length = usage.input_tokens
    plain = prices.input.at(length)
    hour = min(metering.cache_write_hour_tokens, metering.cache_write_tokens)
    short = metering.cache_write_tokens - hour
    fresh = max(length - usage.cached_tokens - metering.cache_write_tokens, 0)
    short_usd = _at(prices.cache_write, length, plain)
    total = (
        fresh * plain
        + usage.cached_tokens * _at(prices.cached_input, length, plain)
        + short * short_usd
        + hour * _at(prices.cache_write_hour, length, short_usd)
        + usage.output_tokens * prices.output.at(length)
    )
    return total / TOKENS_PER_PRICE


def usage_cost_usd(usage: Usage, prices: ModelPrices | None) -> float | None:
    """Returns the cost of plain counts, as ``cost_usd`` does for an answer."""
    return cost_usd(Metering(usage=usage), prices)


def maximal_cost_usd(estimate: Estimate, prices: ModelPrices | None) -> float | None:
    """Returns the most a request may cost, for a budget's reservation; None if the price is unknown.

    Nothing is taken to be cached, and a dearer write to the cache is taken for all input. Where the request names no
    bound of its output (``is_bounded`` False), the reservation is an estimate.
    """
    if prices is None:
        return None
    length = estimate.input_tokens
    plain = prices.input.at(length)
    dearest = max(plain, _at(prices.cache_write, length, plain), _at(prices.cache_write_hour, length, plain))
    return (length * dearest + estimate.output_tokens * prices.output.at(length)) / TOKENS_PER_PRICE


def _at(price: Price | None, input_tokens: int, otherwise: float) -> float:
    return otherwise if price is None else price.at(input_tokens)
