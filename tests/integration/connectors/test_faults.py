"""What goes wrong outside: a full disk, a source that changes, a step that is stopped or killed."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from forebay.connectors.sources.found import Named, open_local
from forebay.connectors.stopping import Stopper
from forebay.connectors.workplace import PREFIX, Shop, Workplace, work_folder
from forebay.domain.errors import RequestError, StoreUnavailable
from tests.integration.connectors.table_house import TableHouse, table_house

ENDLESS = "SELECT sum(a.range * b.range * c.range) FROM range(100000) a, range(100000) b, range(100000) c"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TableHouse]:
    async with table_house(tmp_path) as opened:
        yield opened


@contextmanager
def _small_disk(size: int) -> Iterator[None]:
    """No file grows beyond so many bytes: what it writes fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("path", ["out.csv", "out.jsonl", "out.parquet"])
async def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(house: TableHouse, path: str) -> None:
    house.file("in.csv", "id,text\n" + "".join(f"{i},{os.urandom(60).hex()}\n" for i in range(20_000)))
    load = await house.run("read", path="in.csv")
    house.file(path, "old")
    with _small_disk(500_000), pytest.raises(RequestError) as raised:
        await house.run("write", {"load": load.output}, path=path)
    assert raised.value.code == "sink_failed"
    assert (house.folder / path).read_text() == "old"
    assert sorted(one.name for one in house.folder.iterdir()) == sorted(["in.csv", path])


async def test_a_full_disk_of_the_work_fails_the_step(house: TableHouse) -> None:
    house.file("in.csv", "id,text\n" + "".join(f"{i},{os.urandom(60).hex()}\n" for i in range(20_000)))
    house.file("in.txt", "".join(f"{os.urandom(60).hex()}\n" for i in range(20_000)))
    for path in ("in.csv", "in.txt"):
        with _small_disk(500_000), pytest.raises((RequestError, StoreUnavailable)):
            await house.run("read", path=path)


async def test_a_file_that_changes_while_it_is_read_fails_the_step(house: TableHouse, tmp_path: Path) -> None:
    path = house.file("in.csv", "id\n1\n")
    with work_folder(tmp_path / "aside") as folder:
        shop = Shop(blobs=house.blobs, memory_bytes=2**27)
        place = Workplace(folder, shop, Stopper(), asyncio.get_running_loop())
        found = open_local(Named(shown="in.csv", path=path), path, place)
        found.check()
        path.write_text("id\n1\n2\n")
        with pytest.raises(RequestError, match="changed while it was read") as raised:
            found.check()
    assert raised.value.code == "source_failed"


async def test_a_cancelled_step_breaks_its_statement_off(house: TableHouse) -> None:
    running = asyncio.ensure_future(house.run("sql", query=ENDLESS))
    while not list((house.folder.parent / "work").glob(f"{PREFIX}*/*result*")) and not running.done():
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_no_folder_that_is_being_made_is_taken_for_one_left_behind(tmp_path: Path) -> None:
    def work() -> int:
        there = 0
        for _ in range(100):
            with work_folder(tmp_path) as folder:
                there += folder.exists()
        return there

    with ThreadPoolExecutor(4) as pool:
        assert sum(work.result() for work in [pool.submit(work) for _ in range(4)]) == 400
    assert list(tmp_path.glob(f"{PREFIX}*")) == []


def test_a_folder_of_a_killed_process_is_removed_and_one_at_work_is_not(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from forebay.connectors.workplace import work_folder\n"
        "with work_folder(Path(sys.argv[1])) as folder: print(folder, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = Path(process.stdout.readline().strip())
    with work_folder(tmp_path) as own:
        assert left.exists()
        assert own.exists()
    process.kill()
    process.wait()
    process.stdout.close()
    assert left.exists()
    with work_folder(tmp_path):
        assert not left.exists()


WRITES = """
import asyncio, sys
from pathlib import Path
from tests.integration.connectors.table_house import table_house

async def main(folder: Path) -> None:
    async with table_house(folder) as house:
        query = "SELECT range AS id, md5(range::VARCHAR) AS text FROM range(400000)"
        made = await house.run("sql", query=query)
        while True:
            await house.run("write", {"made": made.output}, path="out.csv")
            print("written", flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


def _killed_in_mid_write(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3], text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"  # and nothing of DuckDB's before it
    while not list((folder / "data").glob(".out.csv.*.draft")):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


async def test_a_kill_in_mid_write_leaves_a_whole_file_and_the_next_write_cleans_up(tmp_path: Path) -> None:
    await asyncio.to_thread(_killed_in_mid_write, tmp_path)
    written = tmp_path / "data" / "out.csv"
    count = f"SELECT count(*), count(DISTINCT id) FROM read_csv('{written}')"
    assert duckdb.sql(count).fetchall() == [(400_000, 400_000)]
    async with table_house(tmp_path / "again") as house:
        made = await house.run("sql", query="SELECT 1 AS id")
        await house.run("write", {"made": made.output}, path=str(written))
    assert os.listdir(written.parent) == ["out.csv"]
