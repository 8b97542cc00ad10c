"""When to try again: exponential, with full jitter on its upper half, or as the target asks."""

import random

BASE_SECONDS = 1.0
CEILING_SECONDS = 300.0
JITTER = 0.5  # the share of the delay that is drawn; the rest is kept, so that a retry is never at once
MAX_EXPONENT = 16


def delay_seconds(tries: int, chance: random.Random, *, retry_after: float | None = None) -> float:
    """Returns how long to wait before the next try after ``tries`` failed ones (1, 2, …).

    A target's ``Retry-After`` is a floor: up to a tenth is added, so that a crowd does not come back in one moment.
    """
    if retry_after is not None and retry_after >= 0:
        return retry_after * (1 + 0.1 * chance.random()) + 0.05 * chance.random()
    exponent = min(max(tries, 1) - 1, MAX_EXPONENT)
    whole = min(BASE_SECONDS * float(1 << exponent), CEILING_SECONDS)
    return whole * (1 - JITTER * chance.random())
