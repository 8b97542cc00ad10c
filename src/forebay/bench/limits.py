"""Section `limits`: the engine against targets whose limits it has to find: calls at once, requests a minute, load.

The scenarios run at the same time; each takes a few hundredths of a core.
"""

import asyncio

from forebay.bench.figures import Aim, Figure
from forebay.bench.limited import Stretch, limited
from forebay.bench.place import Place, bodies
from forebay.bench.pool import calls_per_second
from forebay.targets.clients import open_http

SECTION = "limits"
LATENCY_MS = 50.0
FIRST_ALLOWED, THEN_ALLOWED = 37, 12
REQUESTS_A_MINUTE = 600
CAPACITY = 20  # calls that the slow server works on at once; more wait for each other
OVERLOAD = 200  # more than these it answers 503
BEST_SHARE = 0.1  # of a stretch's time, for which a bare pool calls
SETTLED_SECONDS = 5.0  # the end of a stretch, over which a rate is told
RATE_AIM, REFUSED_AIM = 0.9, 0.02
USED_AIM, MINUTE_REFUSED_AIM = 0.95, 0.01


async def measure(place: Place) -> list[Figure]:
    """Three targets, one engine on each."""
    place.tell(f"{2 * place.sizes.limits_seconds:.0f} s: calls at once, requests a minute, a server that slows down")
    found = await asyncio.gather(_at_once(place), _a_minute(place), _slowing(place))
    return [figure for figures in found for figure in figures]


async def _best(place: Place, allowed: int) -> float:
    """Calls a second of a bare pool that knows the limit: what the engine could reach at best."""
    texts = bodies(int(allowed / LATENCY_MS * 1000 * place.sizes.limits_seconds * BEST_SHARE))
    async with place.mock(LATENCY_MS) as mock:
        http = open_http()
        try:
            return await calls_per_second(http, f"{mock.address}/chat/completions", texts, allowed)
        finally:
            await http.close()


async def _at_once(place: Place) -> list[Figure]:
    seconds = place.sizes.limits_seconds
    best = {allowed: await _best(place, allowed) for allowed in (FIRST_ALLOWED, THEN_ALLOWED)}
    options = ("--concurrency", str(FIRST_ALLOWED))
    async with limited(place, "at-once", *options, latency_ms=LATENCY_MS) as running:
        first = await running.watch(seconds)
        await running.change({"concurrency": THEN_ALLOWED})
        then = await running.watch(seconds)
    return [
        *_found(first, FIRST_ALLOWED, best[FIRST_ALLOWED], "at once"),
        *_found(then, THEN_ALLOWED, best[THEN_ALLOWED], f"at once, {FIRST_ALLOWED} before"),
    ]


async def _a_minute(place: Place) -> list[Figure]:
    async with limited(place, "a-minute", "--rpm", str(REQUESTS_A_MINUTE), latency_ms=LATENCY_MS) as running:
        stretch = await running.watch(2 * place.sizes.limits_seconds)
    allowed = REQUESTS_A_MINUTE / 60 * stretch.seconds
    name = f"{REQUESTS_A_MINUTE} requests a minute"
    return [
        _figure(f"{name}: used", stretch.answered, "calls", Aim(at_least=USED_AIM), (allowed, "allowed")),
        _figure(f"{name}: refused", stretch.refused_share * 100, "%", Aim(at_most=MINUTE_REFUSED_AIM * 100)),
    ]


async def _slowing(place: Place) -> list[Figure]:
    options = ("--capacity", str(CAPACITY), "--overload", str(OVERLOAD))
    async with limited(place, "slowing", *options, latency_ms=LATENCY_MS) as running:
        stretch = await running.watch(2 * place.sizes.limits_seconds)
    best = CAPACITY / LATENCY_MS * 1000
    name = f"latency grows beyond {CAPACITY} at once"
    in_flight = stretch.in_flight(SETTLED_SECONDS)
    return [
        _figure(f"{name}: rate", stretch.rate(SETTLED_SECONDS), "calls/s", Aim(at_least=RATE_AIM), (best, "the best")),
        _figure(f"{name}: under way", in_flight, "calls", Aim(at_most=1.0), (OVERLOAD, "answered 503 beyond")),
        _figure(f"{name}: refused", stretch.refused_share * 100, "%", Aim(at_most=0.0)),
    ]


def _found(stretch: Stretch, allowed: int, best: float, what: str) -> list[Figure]:
    rate = stretch.rate(SETTLED_SECONDS)
    return [
        _figure(f"{allowed} {what}: rate", rate, "calls/s", Aim(at_least=RATE_AIM), (best, "a bare pool")),
        _figure(f"{allowed} {what}: refused", stretch.refused_share * 100, "%", Aim(at_most=REFUSED_AIM * 100)),
    ]


def _figure(name: str, measured: float, unit: str, aim: Aim, beside: tuple[float, str] | None = None) -> Figure:
    baseline, baseline_name = beside or (None, "")
    return Figure(
        section=SECTION,
        name=name,
        measured=measured,
        unit=unit,
        baseline=baseline,
        baseline_name=baseline_name,
        aim=aim,
    )
