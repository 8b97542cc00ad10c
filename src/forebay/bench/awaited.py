"""Section `awaited`: what a request costs that waits for its answer, over the same request sent to the model itself."""

from statistics import median

from forebay.bench.figures import Aim, Figure
from forebay.bench.place import Place, bodies, configure, server
from forebay.bench.wire import Wire, wire

SECTION = "awaited"
PATH = "/v1/chat/completions"
LATENCY_MS = 20.0
OVERHEAD_AIM_MS = 10.0
WARMING = 5


async def measure(place: Place) -> list[Figure]:
    """Takes turns, one request at a time: the server and its worker have nothing else to do."""
    count = place.sizes.awaited
    async with place.mock(LATENCY_MS) as mock:
        file = configure(place.new_folder(SECTION), mock.address)
        async with server(file) as serving, wire(mock.address) as direct, wire(serving.address) as through:
            place.tell(f"{count} requests, awaited and direct by turns")
            texts = bodies(count + WARMING)
            pairs = [(await _seconds(direct, text), await _seconds(through, text)) for text in texts][WARMING:]
    called = median(pair[0] for pair in pairs) * 1000
    awaited = median(pair[1] for pair in pairs) * 1000
    return [
        Figure(
            section=SECTION,
            name="awaited request over a direct call, median, idle",
            measured=awaited - called,
            unit="ms",
            aim=Aim(at_most=OVERHEAD_AIM_MS),
        ),
        Figure(
            section=SECTION,
            name="awaited request",
            measured=awaited,
            unit="ms",
            baseline=called,
            baseline_name="direct call",
        ),
    ]


async def _seconds(line: Wire, body: bytes) -> float:
    answer = await line.post(PATH, body)
    if answer.status != 200:
        raise RuntimeError(f"a request was answered {answer.status}: {answer.body[:200]!r}")
    return answer.seconds
