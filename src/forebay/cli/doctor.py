"""`forebay doctor`: whether an installation is well: one line a check, exit 1 if one failed."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from forebay.app import open_system
from forebay.cli.failures import DONE, FAILED
from forebay.cli.logging import set_up_logging
from forebay.cli.options import options_of, refuse_server
from forebay.cli.remote import moment, print_json
from forebay.cli.schedule_checks import schedule_checks
from forebay.domain.change import Depth, Worker
from forebay.domain.errors import ForebayError
from forebay.domain.health import Check, Level
from forebay.domain.lane import NOTIFY_PREFIX
from forebay.domain.target import TargetSpec, TargetType
from forebay.models import problem_of
from forebay.policy.windows import is_open, opens_at, window_text
from forebay.settings import Settings, without_password
from forebay.stores.drivers import store_driver
from forebay.stores.sqlite import examine as examine_file

CLOCK_SECONDS = 5.0  # a heartbeat that far ahead: some clock is wrong


STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("doctor", epilog="Example: forebay doctor --config forebay.yaml")(doctor)


def doctor(context: typer.Context) -> None:
    """Check what hurts: store, server, disk, blobs, clock, queues, schedules, workers. Exit 1 if a check failed."""
    options = options_of(context)
    refuse_server(options, "doctor")
    settings = options.settings()
    set_up_logging("debug" if options.debug else "error")
    checks = asyncio.run(examine(settings))
    if options.as_json:
        print_json(msgspec.json.encode({"object": "list", "data": checks}))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for check in checks:
            console.print(Text.assemble((f"{check.level:<5}", STYLES[check.level]), f"{check.name}: {check.message}"))
    raise typer.Exit(FAILED if any(check.level is Level.FAIL for check in checks) else DONE)


async def examine(settings: Settings) -> list[Check]:
    """Runs every check."""
    targets = ", ".join(spec.name for spec in settings.targets)
    checks = [Check(name="configuration", level=Level.OK, message=f"targets: {targets or 'none'}")]
    checks += _of_local_models(settings)
    path = settings.store.path
    if path is None:
        driver = store_driver("postgresql")
        found = await driver.examine(driver.read_place(settings.store.url))
        checks += found.checks
        if any(check.name == "store" for check in found.checks):  # it can't be opened
            return checks
        return [*checks, *await _of_the_system(settings, without_password(settings.store.url), found.skew_seconds)]
    blobs = settings.blobs if isinstance(settings.blobs, Path) else path.with_name(path.name + ".blobs")
    checks += await asyncio.to_thread(lambda: list(examine_file(path, blobs)))
    if not await asyncio.to_thread(path.exists):
        return [*checks, Check(name="store", level=Level.OK, message=f"{path} does not exist yet; first use makes it")]
    return [*checks, *await _of_the_system(settings, str(path))]


async def _of_the_system(settings: Settings, shown: str, skew_seconds: float = 0.0) -> list[Check]:
    """What an opened store tells; its clock is ahead of ours by ``skew_seconds``."""
    checks: list[Check] = []
    try:
        async with open_system(settings) as system:
            checks.append(Check(name="store", level=Level.OK, message=f"{shown} opens"))
            checks.append(Check(name="blobs", level=Level.OK, message=system.services.blobs.store_id))
            jobs = system.services.jobs
            depths, workers = await jobs.depths(), await jobs.workers()
            of_schedules = await schedule_checks(system.services, await jobs.now())
    except ForebayError as error:
        return [*checks, Check(name="store", level=Level.FAIL, message=str(error))]
    now = time.time() + skew_seconds
    checks += [*_of_queues(depths, now), *_of_windows(settings.targets, now), *of_schedules]
    return [*checks, *_of_workers(workers, now), *_unserved(depths, workers, now)]


def _of_local_models(settings: Settings) -> Iterator[Check]:
    for spec in settings.targets:
        if spec.type is TargetType.LOCAL and spec.model is not None:
            problem = problem_of(spec.model)
            level = Level.OK if problem is None else Level.WARN
            yield Check(name=f"target {spec.name}", level=level, message=problem or f"{spec.model} can be started")


def _of_queues(depths: Sequence[Depth], now: float) -> Iterator[Check]:
    for depth in depths:
        age = "" if depth.oldest_queued_at is None else f", the oldest for {now - depth.oldest_queued_at:,.0f} s"
        dead = f", {depth.dead:,} dead letters" if depth.dead else ""
        message = f"{depth.queued:,} queued{age}, {depth.running:,} running{dead}"
        yield Check(name=f"queue {depth.queue}", level=Level.OK, message=message)


def _of_windows(targets: Sequence[TargetSpec], now: float) -> Iterator[Check]:
    for spec in targets:
        if not spec.windows:
            continue
        windows = ", ".join(window_text(window) for window in spec.windows)
        state = "open" if is_open(spec.windows, now) else f"closed until {moment(opens_at(spec.windows, now))}"
        yield Check(name=f"target {spec.name}", level=Level.OK, message=f"called {windows}: {state}")


def _of_workers(workers: Sequence[Worker], now: float) -> Iterator[Check]:
    for worker in workers:
        age = now - worker.heartbeat_at
        where = f"pid {worker.pid} on {worker.host}, heartbeat {max(age, 0):,.1f} s ago"
        if age < -CLOCK_SECONDS:
            ahead = f"{where}: its heartbeat lies {-age:,.0f} s ahead; check the clocks"
            yield Check(name="clock", level=Level.WARN, message=ahead)
        elif age > worker.lease_seconds:
            dead = f"{where}: dead; any other worker takes its jobs back"
            yield Check(name=f"worker {worker.id}", level=Level.WARN, message=dead)
        else:
            yield Check(name=f"worker {worker.id}", level=Level.OK, message=where)


def _unserved(depths: Sequence[Depth], workers: Sequence[Worker], now: float) -> Iterator[Check]:
    alive = [worker for worker in workers if now - worker.heartbeat_at <= worker.lease_seconds]
    served = {queue for worker in alive for queue in worker.queues}
    for depth in depths:
        family = NOTIFY_PREFIX if depth.queue.startswith(NOTIFY_PREFIX) else depth.queue
        if depth.queued and family not in served:
            message = f"{depth.queued:,} jobs wait and no live worker serves it: start `forebay worker` with its target"
            yield Check(name=f"queue {depth.queue}", level=Level.WARN, message=message)
