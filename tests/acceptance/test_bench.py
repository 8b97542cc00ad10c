"""`forebay bench` measures; whether the figures are good stands in its own --check, never in a test."""

import asyncio
import json
import math
import signal
from pathlib import Path

import pytest

from forebay.bench.figures import Aim, Figure, Report, number
from forebay.bench.limited import Stretch, look_of
from forebay.bench.mock import Program, compiled, mock_model
from forebay.bench.run import SECTIONS, Request, run_bench
from forebay.bench.sizes import Sizes, sized
from forebay.bench.wire import wire
from tests.acceptance.run_support import LONGEST_SECONDS, forebay, started, until

SMALL = Sizes(
    jobs=400,
    rounds=1,
    latency_ms=5.0,
    submissions=100,
    awaited=3,
    pushes=5,
    lines=(100, 300),
    backlog=3_000,
    backlog_baseline=100,
    limits_seconds=1.0,
    scaling_seconds=0.5,
    postgres_backlog=3_000,
    postgres_rounds=1,
    fanout_branches=100,
    events=200,
    pipeline_records=300,
    growth_jobs=500,
    growth_rounds=4,
)
REQUEST = b'{"model":"mock","messages":[]}'


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
async def test_each_section_measures_every_figure_of_its_own(section: str) -> None:
    told: list[str] = []
    report = await run_bench(Request(sections=[section], sizes=SMALL, tell=told.append))
    assert report.figures
    assert {figure.section for figure in report.figures} == {section}
    assert len({figure.name + figure.baseline_name for figure in report.figures}) == len(report.figures)
    assert all(math.isfinite(figure.judged) for figure in report.figures)
    assert all(figure.measured >= 0 for figure in report.figures if section not in {"parts", "awaited"})
    assert told
    assert all(line.startswith(f"{section}: ") for line in told)


def test_the_command_prints_the_sections_that_were_asked_for(tmp_path: Path) -> None:
    done = forebay("bench", "--only", "submissions", "--submissions", "100", "--json", cwd=tmp_path)
    assert done.code == 0
    assert {figure["section"] for figure in json.loads(done.out)["figures"]} == {"submissions"}
    assert "mock model" in json.loads(done.out)["notes"][0]


def test_an_aim_out_of_reach_fails_the_command_when_it_is_asked_to(tmp_path: Path) -> None:
    checked = forebay("bench", "--only", "batches", "--lines", "1", "--check", cwd=tmp_path)  # far from 50,000 a second
    assert checked.code == 1
    assert "batches: 1 lines: validated and accepted" in checked.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_bench_that_is_stopped_leaves_no_process_and_no_file(number: signal.Signals, tmp_path: Path) -> None:
    arguments = ("bench", "--only", "batches", "--lines", "1000000")
    with started(*arguments, cwd=tmp_path, TMPDIR=str(tmp_path)) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: len(children.read_text().split()) == 3, "mock, server and worker")
        pids = children.read_text().split()
        process.send_signal(number)
        assert process.wait(LONGEST_SECONDS) == (130 if number is signal.SIGINT else 1)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"), [(("--only", "durabel"), "durabel"), (("--lines", "many"), "many"), (("--lines", "0"), "0")]
)
def test_what_the_bench_does_not_know_is_named(arguments: tuple[str, ...], named: str, tmp_path: Path) -> None:
    done = forebay("bench", *arguments, cwd=tmp_path)
    assert done.code == 2
    assert named in done.err


def test_aims_that_were_missed_are_named() -> None:
    good = figure(measured=10.0, aim=Aim(at_least=10.0))
    slow = figure(measured=5.0, baseline=10.0, aim=Aim(at_least=0.75))
    large = figure(measured=300.0, aim=Aim(at_most=250.0))
    report = Report(figures=(good, slow, large, figure(measured=1.0)), notes=(), seconds=1.0)
    assert report.misses == [
        "durable: speed: 0.50, and the aim is ≥ 0.75",
        "durable: speed: 300 jobs/s, and the aim is ≤ 250",
    ]
    assert [each.is_met for each in report.figures] == [True, False, False, None]


def test_numbers_have_three_digits() -> None:
    shown = [number(value) for value in (0.0, 0.0123, 0.456, 7.0, 12.34, 123.4, 1234567.8)]
    assert shown == ["0", "0.012", "0.46", "7.00", "12.3", "123", "1,234,568"]


def test_what_was_chosen_goes_before_the_sizes_of_a_full_run() -> None:
    assert sized(is_full=False) == Sizes()
    assert sized(is_full=True).backlog == 1_000_000
    assert sized(is_full=True, backlog=7, jobs=None).backlog == 7
    assert sized(is_full=True, backlog=7, jobs=None).jobs == 50_000


def test_refusals_are_told_from_answers_by_what_the_mock_model_counted() -> None:
    first = look_of(b'{"in_flight":3,"by_outcome":{"200":10,"429 concurrency":1}}', 0.0)
    last = look_of(b'{"in_flight":5,"by_outcome":{"200":100,"429 requests":4,"503 overload":6,"reset":1}}', 10.0)
    stretch = Stretch(looks=(first, last))
    assert (stretch.answered, stretch.refused_share, stretch.rate(10.0)) == (90, 9 / 99, 9.0)
    assert stretch.in_flight(10.0) == 4.0


async def test_both_mock_models_answer_with_usage_and_a_request_id(tmp_path: Path) -> None:
    made = await compiled(tmp_path)
    assert made.path is not None, "the machines that test have a C compiler"
    for program in (made, Program(path=None)):
        async with mock_model(program, 1.0) as mock, wire(mock.address) as line:
            answer = await line.post("/v1/chat/completions", REQUEST)
            assert answer.status == 200
            assert json.loads(answer.body)["usage"]["total_tokens"] > 0


async def test_the_compiled_mock_takes_requests_in_pieces_and_at_once_and_clients_that_go_away(tmp_path: Path) -> None:
    async with mock_model(await compiled(tmp_path), 20.0) as mock:
        port = int(mock.address.rpartition(":")[2].removesuffix("/v1"))
        request = b"POST /v1/x HTTP/1.1\r\ncontent-LENGTH: %d\r\n\r\n" % len(REQUEST) + REQUEST
        for _ in range(20):
            _, gone = await asyncio.open_connection("127.0.0.1", port)
            gone.write(request)
            await gone.drain()
            gone.transport.abort()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        whole = request * 3
        for start in range(0, len(whole), 50):
            writer.write(whole[start : start + 50])
            await writer.drain()
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"x-request-id: req_" in head
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            assert json.loads(await reader.readexactly(length))["object"] == "chat.completion"
        writer.close()


def figure(*, measured: float, baseline: float | None = None, aim: Aim | None = None) -> Figure:
    return Figure(section="durable", name="speed", measured=measured, unit="jobs/s", baseline=baseline, aim=aim)
