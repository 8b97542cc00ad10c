"""When a delivery is tried again: quickly at first, then ever more patiently, for three days. Pure.

Source: the schedule that standardwebhooks.com recommends, its steps jittered.
"""

import random

STEPS_SECONDS = (5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0)  # the last again and again
JITTER = 0.25  # of a step, to both sides
LONGEST_ASKED_SECONDS = 86_400.0  # of a Retry-After that is obeyed: a slip of a receiver's must not lose an event
SUCCESSES = range(200, 300)
GONE = 410


def wait_seconds(age_seconds: float, chance: random.Random, *, retry_after: float | None = None) -> float:
    """How long to wait after a try that failed when a delivery was so old; never less than the receiver asked for, up
    to a day. By age and not by tries, so that a delivery that is sent again on request begins anew.
    """
    step = STEPS_SECONDS[-1]
    begins = 0.0
    for length in STEPS_SECONDS:
        begins += length * (1 - JITTER)
        if age_seconds < begins:
            step = length
            break
    wait = step * (1 + JITTER * (2 * chance.random() - 1))
    return max(wait, min(retry_after or 0.0, LONGEST_ASKED_SECONDS))
