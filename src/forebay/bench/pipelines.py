"""Section `pipelines`: records a second from a file through a model into a file, beside a bare script with the same
data and no durability; what the process holds meanwhile; the time of runs where nothing, or one record, changed.
"""

import asyncio
import csv
import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from forebay.bench.figures import Figure
from forebay.bench.place import MICROSECONDS, Place, configure
from forebay.bench.pool import HEADERS, TASKS, TIMEOUT_SECONDS
from forebay.bench.usage import Watcher, can_look
from forebay.policy.output_text import read_output
from forebay.targets.clients import DEFAULT_LIBRARY, open_http
from forebay.targets.http import HttpClient

SECTION = "pipelines"
INPUT, OUTPUT, BARE = "in.csv", "labels.jsonl", "bare.jsonl"
LEAST_CHARACTERS = 20  # as in the SQL
PROMPT = "Classify: "
WARMING = 100
LOOK_SECONDS = 0.25  # at the memory of a run
NAME = "bench"
STEPS = {
    "load": {"read": INPUT},
    "clean": {"sql": "SELECT id, trim(text) AS text FROM load WHERE length(text) > 20"},
    "label": {"infer": {"target": "mock", "model": "mock", "prompt": PROMPT + "{text}"}, "needs": ["clean"]},
    "save": {"write": OUTPUT, "from": "label"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run of the command."""

    seconds: float
    cpu_seconds: float
    greatest_mb: float


async def measure(place: Place) -> list[Figure]:
    """Three runs and the script, each over the same records."""
    folder, records = place.new_folder(SECTION), place.sizes.pipeline_records
    async with place.mock() as mock:
        file = configure(folder, mock.address)
        settings = json.loads(file.read_text())
        file.write_text(json.dumps({**settings, "pipelines": {NAME: {"steps": STEPS}}}))
        write_records(folder / INPUT, WARMING)
        await _run(file)
        write_records(folder / INPUT, records)
        place.tell(f"{records:,} records through the script")
        bare, bare_us = await _bare(folder, f"{mock.address}/chat/completions", records)
        place.tell(f"{records:,} records through the pipeline")
        first = await _run(file)
        _check(folder, records)
        place.tell("once more, where nothing changed")
        again = await _run(file)
        place.tell("once more, where one record changed")
        write_records(folder / INPUT, records, changed=records // 2)
        changed = await _run(file)
        _check(folder, records)
    return _figures(records, (bare, bare_us), (first, again, changed))


def write_records(path: Path, records: int, changed: int | None = None) -> None:
    """Writes a CSV of reviews; every record passes the filter."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "text"))
        for number in range(records):
            again = " again" if number == changed else ""
            writer.writerow((number, f"review number {number} of a thing that is rather good{again}"))


def _figures(records: int, bare: tuple[float, float], runs: tuple[Ran, Ran, Ran]) -> list[Figure]:
    first, again, changed = runs
    told = f"{records:,} records"
    figures = [
        Figure(
            section=SECTION,
            name=f"{told}: read, sql, infer, write",
            measured=records / first.seconds,
            unit="a second",
            baseline=bare[0],
            baseline_name="a bare script",
        ),
        Figure(
            section=SECTION,
            name=f"{told}: CPU of each",
            measured=first.cpu_seconds / records * MICROSECONDS,
            unit="µs",
            baseline=bare[1],
            baseline_name="a bare script",
        ),
        Figure(section=SECTION, name=f"{told}: a run where nothing changed", measured=again.seconds, unit="s"),
        Figure(section=SECTION, name=f"{told}: a run where one record changed", measured=changed.seconds, unit="s"),
    ]
    if can_look():
        figures.append(Figure(section=SECTION, name=f"{told}: memory", measured=first.greatest_mb, unit="MB"))
    return figures


async def _run(file: Path) -> Ran:
    """The command in a process of its own, from its start to its end."""
    command = (sys.executable, "-m", "forebay", "pipelines", "run", NAME, "--config", str(file), "--json")
    before, began = _children_seconds(), time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    if can_look():
        watcher = Watcher((process.pid,))
        looking = asyncio.create_task(_watch(watcher, process))
        _, said = await process.communicate()
        await looking
        greatest = watcher.greatest_mb
    else:
        _, said = await process.communicate()
        greatest = 0.0
    if process.returncode:
        raise RuntimeError(f"the pipeline failed: {said.decode(errors='replace')[-500:]}")
    seconds = time.perf_counter() - began
    return Ran(seconds=seconds, cpu_seconds=_children_seconds() - before, greatest_mb=greatest)


async def _watch(watcher: Watcher, process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        try:
            watcher.look()
        except (FileNotFoundError, ProcessLookupError):
            return  # it has ended
        await asyncio.sleep(LOOK_SECONDS)


def _children_seconds() -> float:
    """CPU of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _bare(folder: Path, url: str, records: int) -> tuple[float, float]:
    """What a script does: reads, filters, asks by a pool of tasks, and writes in order. Records a second, CPU µs."""
    http = open_http(DEFAULT_LIBRARY)
    try:
        await _script(folder, url, http, WARMING)
        began, cpu = time.perf_counter(), time.process_time()
        await _script(folder, url, http, records)
        return records / (time.perf_counter() - began), (time.process_time() - cpu) / records * MICROSECONDS
    finally:
        await http.close()


async def _script(folder: Path, url: str, http: HttpClient, most: int) -> None:
    with (folder / INPUT).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if len(row["text"]) > LEAST_CHARACTERS][:most]
    outputs: list[str] = [""] * len(rows)
    remaining = iter(enumerate(rows))

    async def work() -> None:
        for place, row in remaining:
            message = {"role": "user", "content": PROMPT + row["text"].strip()}
            body = json.dumps({"model": "mock", "messages": [message]}).encode()
            response = await http.post(url, HEADERS, body, TIMEOUT_SECONDS)
            if response.status != 200:
                raise RuntimeError(f"the mock model answered {response.status}")
            outputs[place] = read_output(response.body).value

    async with asyncio.TaskGroup() as group:
        for _ in range(min(TASKS, len(rows))):
            group.create_task(work())
    with (folder / BARE).open("w") as file:
        for row, output in zip(rows, outputs, strict=True):
            file.write(json.dumps({"id": row["id"], "text": row["text"].strip(), "output": output}) + "\n")


def _check(folder: Path, records: int) -> None:
    """Raises: RuntimeError: a record was lost, or stands in another order."""
    with (folder / OUTPUT).open() as file:
        ids = [int(json.loads(line)["id"]) for line in file]
    if ids != list(range(records)):
        raise RuntimeError(f"the output has {len(ids)} records, or another order, of {records}")
