"""Section `parts`: where a durable job's CPU goes. Parts are told by threads, and by leaving one part out.

The engine runs twice, once with the mock over HTTP and once with a target that answers from memory: what the second
run lacks is HTTP. The store has a thread of its own. JSON is measured alone, by the calls that a job makes of it, and
taken off the engine's share. Each thread's CPU comes from /proc/self/task.
"""

import time
from collections.abc import Mapping
from dataclasses import replace

from forebay.app import System, open_system
from forebay.bench.durable import WARMING
from forebay.bench.engine_run import jobs_per_second
from forebay.bench.figures import Figure
from forebay.bench.place import MICROSECONDS, Place, bodies, configure, settings_of
from forebay.bench.usage import can_look, thread_seconds
from forebay.domain.inference import Call, InferenceResult
from forebay.policy.resolution import rewrite_model
from forebay.policy.usage import estimate_request, read_metering
from forebay.ports import StreamSink

SECTION = "parts"
STORE_THREAD = "forebay-sqlite"  # the beginning of its threads' names
ANSWER = (
    b'{"id":"chatcmpl-bench","object":"chat.completion","created":1760000000,"model":"mock","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"The answer of a model that costs nothing."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":200,"completion_tokens":10,"total_tokens":210}}'
)
ENDPOINT = "/v1/chat/completions"
JSON_ROUNDS = 2_000


class MemoryTarget:
    """Answers at once, from memory."""

    name = "mock"

    def __init__(self) -> None:
        metering = read_metering(ANSWER)
        self._result = InferenceResult(status_code=200, body=ANSWER, usage=metering.usage, model=metering.model)

    def serves(self, endpoint: str) -> bool:
        return endpoint == ENDPOINT

    async def call(self, _call: Call, _sink: StreamSink | None = None) -> InferenceResult:
        return self._result

    async def check(self) -> str:
        return "it answers from memory"

    async def close(self) -> None:
        """Nothing is open."""


async def measure(place: Place) -> list[Figure]:
    """Two runs of the engine; nothing where threads can't be told apart."""
    if not can_look():
        return []
    texts = bodies(place.sizes.jobs)
    async with (
        place.mock() as mock,
        open_system(settings_of(configure(place.new_folder(SECTION), mock.address))) as system,
    ):
        place.tell(f"the engine with HTTP: {len(texts):,} jobs")
        whole = await _thread_us(system, texts)
        services = replace(system.services, targets={MemoryTarget.name: MemoryTarget()})
        place.tell(f"the engine with a target in memory: {len(texts):,} jobs")
        bare = await _thread_us(replace(system, services=services), texts)
    json_us = _json_us(texts[0])
    parts = {
        "HTTP out, by subtraction": _beside_store(whole) - _beside_store(bare),
        "engine, on the event loop": _beside_store(bare) - json_us,
        "store, on its thread": _of_store(whole),
        "JSON of requests and answers": json_us,
    }
    return [Figure(section=SECTION, name=name, measured=value, unit="µs a job") for name, value in parts.items()]


async def _thread_us(system: System, texts: list[bytes]) -> dict[str, float]:
    """CPU µs a job by thread."""
    await jobs_per_second(system, texts[:WARMING])
    before = thread_seconds()
    await jobs_per_second(system, texts)
    after = thread_seconds()
    return {name: (after[name] - before.get(name, 0.0)) / len(texts) * MICROSECONDS for name in after}


def _of_store(threads: Mapping[str, float]) -> float:
    return sum(value for name, value in threads.items() if name.startswith(STORE_THREAD))


def _beside_store(threads: Mapping[str, float]) -> float:
    return sum(threads.values()) - _of_store(threads)


def _json_us(body: bytes) -> float:
    """What a job's body and its answer cost to read: the estimate, the model's place, the usage."""
    text = body.decode()
    began = time.thread_time()
    for _ in range(JSON_ROUNDS):
        estimate_request(body, ENDPOINT)
        rewrite_model(text, "mock")
        read_metering(ANSWER)
    return (time.thread_time() - began) / JSON_ROUNDS * MICROSECONDS
