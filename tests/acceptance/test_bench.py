"""`forebay bench` measures; whether the figures are good stands in its own --check, never in a test."""

import json
from pathlib import Path

from forebay.bench.report import RATIO_AIM, SUBMISSIONS_AIM, BenchReport
from forebay.bench.submissions import SubmissionRate
from tests.acceptance.run_support import forebay


def test_a_small_bench_measures_every_figure(tmp_path: Path) -> None:
    done = forebay("bench", "--jobs", "100", "--latency-ms", "1", "--submissions", "100", "--json", cwd=tmp_path)
    report = json.loads(done.out)
    assert done.code == 0
    assert report["jobs"] == 100
    measured = [report[name] for name in ("bare_per_second", "durable_per_second", "bare_cpu_us", "durable_cpu_us")]
    assert all(figure > 0 for figure in (*measured, *report["submissions"].values()))


def test_aims_that_were_missed_are_named() -> None:
    assert reported(ratio=RATIO_AIM, submissions=SUBMISSIONS_AIM).misses == []
    ratio, submissions = reported(ratio=0.5, submissions=1234.0).misses
    assert "0.50" in ratio
    assert "1,234" in submissions


def reported(*, ratio: float, submissions: float) -> BenchReport:
    return BenchReport(
        jobs=1,
        latency_ms=1.0,
        bare_per_second=1.0,
        durable_per_second=ratio,
        ratio=ratio,
        bare_cpu_us=1.0,
        durable_cpu_us=1.0,
        submissions=SubmissionRate(per_second=submissions, p50_ms=1.0, p99_ms=1.0),
    )
