"""One bench run: everything measured beside its baseline, and the table that a person reads."""

import tempfile
import time
from pathlib import Path

from forebay.app import open_system
from forebay.bench.child import forebay_child
from forebay.bench.durable import jobs_per_second
from forebay.bench.pool import calls_per_second
from forebay.bench.submissions import SubmissionRate, submissions_per_second
from forebay.domain.record import Record
from forebay.domain.target import Limits, TargetSpec, TargetType
from forebay.settings import Settings, load_settings, with_target
from forebay.targets.aiohttp_client import AiohttpClient

SLOTS = 2048  # leases outlive their calls by a commit, so a few more than the pool's tasks
BODY = b'{"model":"mock","messages":[{"role":"user","content":"%s %d"}]}'
PADDING = b"word " * 150  # about 1 KB a request
WARMING = 2 * SLOTS  # calls before a measurement
MICROSECONDS = 1e6
RATIO_AIM = 0.75
SUBMISSIONS_AIM = 5_000.0


class BenchReport(Record, frozen=True, kw_only=True):
    """What one run measured. ``ratio`` is durable jobs a second over bare calls a second."""

    jobs: int
    latency_ms: float
    bare_per_second: float
    durable_per_second: float
    ratio: float
    bare_cpu_us: float  # of this process, a call
    durable_cpu_us: float  # likewise, a job: event loop and the store's thread
    submissions: SubmissionRate

    @property
    def misses(self) -> list[str]:
        """The aims that this run did not reach."""
        missed = []
        if self.ratio < RATIO_AIM:
            missed.append(f"ratio {self.ratio:.2f} is below {RATIO_AIM}")
        if self.submissions.per_second < SUBMISSIONS_AIM:
            missed.append(f"{self.submissions.per_second:,.0f} submissions/s are fewer than {SUBMISSIONS_AIM:,.0f}")
        return missed


async def measure(jobs: int, latency_ms: float, submissions: int) -> BenchReport:
    """Runs the bare pool, the durable engine and the submissions, one after the other."""
    bodies = [BODY % (PADDING, number) for number in range(jobs)]
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as name:
        folder = Path(name)
        arguments = ("mock-model", "--port", "0", "--latency-ms", str(latency_ms))
        async with forebay_child(*arguments, ready="mock model at") as mock:
            url = f"{mock.removesuffix('/v1')}/v1/chat/completions"
            http = AiohttpClient()
            try:
                await calls_per_second(http, url, bodies[:WARMING])  # opens the connections
                began = time.process_time()
                bare = await calls_per_second(http, url, bodies)
                bare_cpu = time.process_time() - began
            finally:
                await http.close()
            async with open_system(_settings(folder / "durable", mock)) as system:
                await jobs_per_second(system, bodies[:WARMING])
                began = time.process_time()
                durable = await jobs_per_second(system, bodies)
                durable_cpu = time.process_time() - began
        rate = await _submissions(folder, bodies[0], submissions)
    return BenchReport(
        jobs=jobs,
        latency_ms=latency_ms,
        bare_per_second=bare,
        durable_per_second=durable,
        ratio=durable / bare,
        bare_cpu_us=bare_cpu / jobs * MICROSECONDS,
        durable_cpu_us=durable_cpu / jobs * MICROSECONDS,
        submissions=rate,
    )


def _settings(folder: Path, mock: str) -> Settings:
    folder.mkdir()
    file = folder / "forebay.yaml"
    file.write_text("store: sqlite:///bench.db\n")
    spec = TargetSpec(
        name="mock",
        type=TargetType.OPENAI,
        base_url=f"{mock.removesuffix('/v1')}/v1",
        models=("mock",),
        limits=Limits(concurrency=SLOTS),
    )
    return with_target(load_settings(file, {}), spec)


async def _submissions(folder: Path, body: bytes, count: int) -> SubmissionRate:
    file = folder / "serve.yaml"
    file.write_text(
        "store: sqlite:///serve.db\n"
        "targets: {mock: {type: openai, base_url: 'http://127.0.0.1:9/v1', models: [mock]}}\n"
    )
    arguments = ("serve", "--port", "0", "--no-worker", "--config", str(file))
    async with forebay_child(*arguments, ready="forebay at") as server:
        job = b'{"target":"mock","body":' + body + b"}"
        await submissions_per_second(server, job, count // 10)
        return await submissions_per_second(server, job, count)
