"""Files that appear in a folder: each begins one run, when it is whole, on however many servers."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forebay.connectors.arrivals import Places
from forebay.domain.arrival import Arrival
from forebay.domain.errors import StoreUnavailable
from forebay.domain.pipeline import Overlap, Pipeline, TriggerType
from forebay.domain.schedule import SCHEDULE, SEEN_FILE, schedule_data
from forebay.engine.services import Services
from forebay.engine.triggers.files import KEPT_SECONDS, LOOK_SECONDS, WHOLE_SECONDS
from forebay.engine.triggers.states import change_state, last_run_of
from forebay.engine.triggers.watching import FileTriggers
from forebay.testing.doubting import DoubtingJobs
from tests.integration.schedule_house import House, allowing, args_of, opened_house, pipeline

ON_CSV = {"files": "inbox/*.csv", "name": "inbox"}
DAY = 86_400.0


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    (tmp_path / "inbox").mkdir()
    async with opened_house(tmp_path, "sqlite") as opened:
        yield opened


def csv(house: House, name: str = "a.csv", text: str = "id\n1\n") -> Path:
    path = house.folder / "inbox" / name
    path.write_text(text)
    return path


def at(house: House, configured: Pipeline) -> Pipeline:
    """The pipeline, in the house's folder."""
    return type(configured)(
        **{name: getattr(configured, name) for name in configured.__struct_fields__} | {"folder": str(house.folder)}
    )


async def watcher(house: House, configured: Pipeline | None = None) -> tuple[FileTriggers, Services]:
    given = at(house, allowing(on=ON_CSV) if configured is None else configured)
    services = replace(await house.server(given), arrivals=Places())
    return FileTriggers(services), services


async def settle(watching: FileTriggers, house: House, rounds: int = 1) -> int:
    """Looks, lets files become whole, and looks again."""
    begun = 0
    for _ in range(rounds):
        begun += await watching.step()
        house.clock.advance(WHOLE_SECONDS)
        watching.hint()
        begun += await watching.step()
    return begun


async def details(house: House) -> list[dict[str, Any]]:
    return [args_of(run).trigger.detail for run in await house.runs()]


async def problem(services: Services) -> str | None:
    record = await services.records.get("default", SCHEDULE, "inbox")
    return schedule_data(record).last_error if record else None


async def test_a_file_that_appears_begins_a_run_that_knows_it(house: House) -> None:
    watching, services = await watcher(house)
    assert await settle(watching, house) == 0
    csv(house)
    assert await settle(watching, house, 3) == 1
    [run] = await house.runs()
    trigger = args_of(run).trigger
    assert (trigger.type, trigger.name) == (TriggerType.FILES, "inbox")
    digest = hashlib.sha256(b"id\n1\n").hexdigest()
    assert trigger.detail == {"path": "inbox/a.csv", "name": "a.csv", "bytes": 5, "digest": digest}
    found = await last_run_of(args_of(run).pipeline.triggers[0], services, tenant="default")
    assert found is not None
    assert found.id == run.id


async def test_parameters_are_taken_from_the_file(house: House) -> None:
    on = {**ON_CSV, "params": {"name": "{file.name}", "size": "{file.bytes}"}}
    configured = allowing(on=on, params={"file": None, "name": None, "size": None})
    watching, _ = await watcher(house, configured)
    csv(house)
    await settle(watching, house)
    [run] = await house.runs()
    assert args_of(run).params == {"file": "inbox/a.csv", "name": "a.csv", "size": 5}


async def test_a_file_that_still_grows_is_left_until_it_is_whole(house: House) -> None:
    watching, _ = await watcher(house)
    path = csv(house)
    for size in range(3):
        watching.hint()
        assert await watching.step() == 0
        house.clock.advance(WHOLE_SECONDS - 0.5)
        path.write_text("x" * (10 + size))
        os.utime(path, ns=(size + 1, size + 1))
    watching.hint()
    assert await watching.step() == 0
    house.clock.advance(WHOLE_SECONDS)
    assert await watching.step() == 1  # it looks again by itself
    assert [one["bytes"] for one in await details(house)] == [12]


async def test_a_file_that_changes_while_it_is_hashed_is_not_whole_yet(house: House) -> None:
    watching, services = await watcher(house)
    path, places = csv(house), Places()

    class Changing(Places):
        async def digest(self, arrival: Arrival) -> str | None:
            path.write_text("other")
            os.utime(path, ns=(7, 7))
            return await places.digest(arrival)

    object.__setattr__(services, "arrivals", Changing())
    changing = FileTriggers(services)
    assert await settle(changing, house) == 0
    assert await settle(watching, house) == 1
    assert [one["bytes"] for one in await details(house)] == [5]


async def test_a_file_that_is_written_anew_is_another_one(house: House) -> None:
    watching, _ = await watcher(house)
    path = csv(house)
    assert await settle(watching, house, 2) == 1
    path.write_text("id\n2\n3\n")
    assert await settle(watching, house, 2) == 1
    assert [one["bytes"] for one in await details(house)] == [5, 7]


async def test_hidden_files_folders_and_other_names_are_none_of_them(house: House) -> None:
    watching, _ = await watcher(house)
    for name in (".hidden.csv", "a.csv.tmp", "b.txt"):
        csv(house, name)
    (house.folder / "inbox" / "folder.csv").mkdir()
    assert await settle(watching, house, 2) == 0


async def test_a_folder_and_what_lies_below_it_may_be_named(house: House) -> None:
    for number, files in enumerate(("inbox/", "inbox", "inbox/**/*.csv", str(house.folder / "inbox" / "**"))):
        name = f"by-{number}"
        watching, _ = await watcher(house, allowing(name, on={"files": files, "name": name}))
        (house.folder / "inbox" / "deep").mkdir(exist_ok=True)
        csv(house, "deep/x.csv")
        csv(house, "y.csv")
        assert await settle(watching, house) == 2, files


async def test_two_servers_begin_one_run_a_file(house: House) -> None:
    servers = [(await watcher(house))[0] for _ in range(2)]
    for number in range(40):
        csv(house, f"{number}.csv")
    await asyncio.gather(*[settle(one, house, 2) for one in servers])
    assert sorted(one["name"] for one in await details(house)) == sorted(f"{number}.csv" for number in range(40))


async def test_a_restarted_server_begins_nothing_anew_though_the_runs_are_gone(house: House) -> None:
    watching, services = await watcher(house)
    csv(house)
    assert await settle(watching, house) == 1
    await house.end_runs()
    for _ in range(4):
        house.clock.advance(20 * DAY)
        again, _ = await watcher(house)
        assert await settle(again, house) == 0  # it lies there still: what is known of it is kept
        await services.jobs.prune(house.clock.now() - DAY)
        await services.records.expire()
    assert await house.runs() == []


async def test_what_is_known_of_a_file_that_has_gone_is_forgotten_in_time(house: House) -> None:
    watching, services = await watcher(house)
    path = csv(house)
    assert await settle(watching, house) == 1
    path.unlink()
    house.clock.advance(KEPT_SECONDS + DAY)
    await settle(watching, house)
    await services.records.expire()
    assert await services.records.list("default", SEEN_FILE) == []


async def test_a_server_that_died_before_it_noted_the_file_is_followed_by_one_that_begins_nothing_more(
    house: House,
) -> None:
    watching, services = await watcher(house)
    csv(house)
    await watching.step()
    house.clock.advance(WHOLE_SECONDS)
    doubting = DoubtingJobs(services.jobs)
    object.__setattr__(services, "jobs", doubting)
    doubting.lose("add")
    with pytest.raises(StoreUnavailable):
        await watching.step()
    assert len(await house.runs()) == 1
    other, _ = await watcher(house)
    assert await settle(other, house, 2) == 1  # found begun
    assert len(await house.runs()) == 1


async def test_files_take_turns_and_none_is_skipped(house: House) -> None:
    watching, _ = await watcher(house, pipeline(on=ON_CSV))
    for number in range(3):
        csv(house, f"{number}.csv")
    begun = []
    for _ in range(6):
        begun.append(await settle(watching, house))
        begun.append(-await house.end_runs())
    assert begun == [1, -1, 1, -1, 1, -1, 0, 0, 0, 0, 0, 0]
    assert len(await house.runs()) == 3


async def test_under_replace_the_run_of_the_last_file_stays(house: House) -> None:
    watching, _ = await watcher(house, pipeline(on=ON_CSV, overlap=Overlap.REPLACE))
    csv(house, "1.csv")
    csv(house, "2.csv")
    assert await settle(watching, house, 2) == 2
    assert [run.ending is not None for run in await house.runs()] == [True, False]


async def test_a_paused_trigger_leaves_files_where_they_are_for_later(house: House) -> None:
    configured = at(house, allowing(on=ON_CSV))
    watching, services = await watcher(house, configured)
    [trigger] = configured.triggers
    await change_state(trigger, services, tenant="default", is_paused=True)
    csv(house)
    assert await settle(watching, house, 2) == 0
    await change_state(trigger, services, tenant="default", is_paused=False)
    assert await settle(watching, house, 2) == 1


async def test_a_folder_that_is_missing_is_told_and_comes_back_without_a_second_run(house: House) -> None:
    watching, services = await watcher(house)
    csv(house)
    assert await settle(watching, house) == 1
    (house.folder / "inbox").rename(house.folder / "away")
    assert await settle(watching, house, 2) == 0
    assert "is not there" in (await problem(services) or "")
    (house.folder / "inbox").write_text("a file in its place")
    assert await settle(watching, house, 2) == 0
    assert "can't be read" in (await problem(services) or "")
    (house.folder / "inbox").unlink()
    (house.folder / "inbox").mkdir()  # empty, as where nothing is mounted
    assert await settle(watching, house, 2) == 0
    assert await problem(services) is None
    (house.folder / "inbox").rmdir()
    (house.folder / "away").rename(house.folder / "inbox")
    assert await settle(watching, house, 2) == 0
    csv(house, "b.csv")
    assert await settle(watching, house, 2) == 1


async def test_a_file_of_which_no_run_can_be_made_is_told_and_stops_no_other(house: House) -> None:
    on = [{**ON_CSV, "params": {"x": "{file.nothing}"}}, {"files": "inbox/*.csv", "name": "good"}]
    watching, services = await watcher(house, allowing(on=on, params={"x": 1}))
    csv(house)
    assert await settle(watching, house, 2) == 1
    assert "file.nothing" in (await problem(services) or "")
    mended, after = await watcher(house, allowing(on=[ON_CSV], params={"x": 1}))
    assert await settle(mended, house, 2) == 1  # it is not lost
    assert await problem(after) is None


async def test_a_file_whose_name_is_no_text_is_told_and_stops_no_other(house: House) -> None:
    watching, services = await watcher(house)
    csv(house, os.fsdecode(b"\xff.csv"))
    csv(house)
    assert await settle(watching, house, 2) == 1
    assert "not UTF-8" in (await problem(services) or "")


async def test_without_a_hint_it_looks_now_and_then(house: House) -> None:
    watching, _ = await watcher(house)
    await watching.step()
    csv(house)
    house.clock.advance(LOOK_SECONDS - 1)
    assert await watching.step() == 0
    house.clock.advance(1)
    assert await watching.step() == 0  # it is seen now
    house.clock.advance(WHOLE_SECONDS)
    assert await watching.step() == 1


async def test_a_thousand_files_at_once_begin_as_many_runs(house: House) -> None:
    watching, services = await watcher(house)
    for number in range(1000):
        (house.folder / "inbox" / f"{number}.csv").touch()
    assert await settle(watching, house) == 1000
    assert len({one["name"] for one in await details(house)}) == 1000
    assert await settle(FileTriggers(services), house) == 0


async def test_ten_thousand_files_at_once_take_turns_and_cost_one_look(house: House) -> None:
    looking = _Looking()
    given = at(house, pipeline(on=ON_CSV))
    watching = FileTriggers(replace(await house.server(given), arrivals=looking))
    for number in range(10_000):
        (house.folder / "inbox" / f"{number}.csv").touch()
    assert await settle(watching, house) == 1
    for _ in range(20):
        await house.end_runs()
        house.clock.advance(0.1)
        await watching.step()
    assert len(await house.runs()) == 21
    assert looking.looks == 2


async def test_the_loop_hears_of_a_file_and_of_a_folder_that_comes(house: House) -> None:
    (house.folder / "inbox").rmdir()
    watching, _ = await watcher(house)
    async with asyncio.timeout(120):
        running = asyncio.create_task(watching.run())
        try:
            (house.folder / "inbox").mkdir()
            csv(house)
            while not await house.runs():
                house.clock.advance(0.5)
                await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert [one["path"] for one in await details(house)] == ["inbox/a.csv"]


async def test_the_system_tells_of_changes_in_a_folder(house: House) -> None:
    heard: Any = Places().changes([("inbox/*.csv", str(house.folder))])
    async with asyncio.timeout(120):
        waiting = asyncio.ensure_future(anext(heard))
        number = 0
        while not waiting.done():
            csv(house, f"{number}.csv")
            number += 1
            await asyncio.sleep(0.02)
        await heard.aclose()


class _Looking(Places):
    """Counts looks."""

    looks = 0

    async def look(self, pattern: str, folder: str) -> AsyncIterator[list[Arrival]]:
        self.looks += 1
        async for page in super().look(pattern, folder):
            yield page
