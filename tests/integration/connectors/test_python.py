"""Steps that call a function, in a process of its own."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.domain.errors import RequestError
from forebay.domain.pipeline import StepOutput
from forebay.processes import exists
from tests.integration.connectors.table_house import TableHouse, table_house

FUNCTIONS = """
import os, time
from datetime import date
from pathlib import Path
import forebay

def upper(record, params):
    if record["id"] == 3:
        raise ValueError("three")
    return {**record, "text": record["text"].upper(), "least": params["least"]}

def several(record):
    for place in range(record["id"]):
        yield {"id": record["id"], "place": place}

def few(record):
    return record if record["id"] == 2 else None

@forebay.step(per="batch", batch_size=2)
def pairs(records):
    if any(record["id"] == 3 for record in records):
        raise KeyError("three")
    return [{"ids": [record["id"] for record in records]}]

@forebay.step(per="table")
def total(table):
    return {"rows": len(table), "sum": sum(record["id"] for record in table), "columns": list(table.columns)}

def frame(table):
    import polars
    return polars.read_parquet(table.path).reverse()

def source():
    yield {"day": date(2026, 1, 2)}

def wrong(record):
    return [1]

def dies(record):
    os._exit(7)

def hangs(record):
    Path("PID").write_text(str(os.getpid()))
    time.sleep(3600)
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TableHouse]:
    async with table_house(tmp_path) as opened:
        yield opened


@pytest.fixture
async def load(house: TableHouse) -> dict[str, StepOutput]:
    house.file("in.csv", "id,text,day\n1,a,2026-01-02\n2,b,2026-01-03\n3,c,2026-01-04\n")
    read = await house.run("read", path="in.csv", columns={"id": "INTEGER", "day": "DATE"})
    return {"load": read.output}


@pytest.fixture
def module(house: TableHouse) -> str:
    """Each test has a module of its own name."""
    name = f"functions_{uuid.uuid4().hex}"
    house.file(f"{name}.py", FUNCTIONS.replace("PID", str(house.folder / "pid")))
    return name


async def test_a_record_whose_call_fails_is_rejected_and_types_stay(
    house: TableHouse, load: dict[str, StepOutput], module: str
) -> None:
    done = await house.run("python", load, function=f"{module}:upper")
    assert await house.rows(done.output.table) == [
        {"id": 1, "text": "A", "day": "2026-01-02", "least": 3},
        {"id": 2, "text": "B", "day": "2026-01-03", "least": 3},
    ]
    assert done.output.table is not None
    assert done.output.table.columns["day"] == "DATE"
    error = {"code": "function_failed", "message": "ValueError: three"}
    assert await house.rows(done.output.rejected) == [{"id": 3, "text": "c", "day": "2026-01-04", "error": error}]
    assert (done.counts.entered, done.counts.succeeded, done.counts.failed) == (3, 2, 1)


async def test_a_generator_gives_several_records_and_none_is_none(
    house: TableHouse, load: dict[str, StepOutput], module: str
) -> None:
    several = await house.run("python", load, function=f"{module}:several")
    rows = await house.rows(several.output.table)
    assert [(row["id"], row["place"]) for row in rows] == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    few = await house.run("python", load, function=f"{module}:few")
    assert [row["id"] for row in await house.rows(few.output.table)] == [2]


async def test_a_marked_function_gets_batches_or_the_table(
    house: TableHouse, load: dict[str, StepOutput], module: str
) -> None:
    pairs = await house.run("python", load, function=f"{module}:pairs")
    assert await house.rows(pairs.output.table) == [{"ids": [1, 2]}]
    assert [row["id"] for row in await house.rows(pairs.output.rejected)] == [3]
    total = await house.run("python", load, function=f"{module}:total")
    assert await house.rows(total.output.table) == [{"rows": 3, "sum": 6, "columns": ["id", "text", "day"]}]
    frame = await house.run("python", load, function=f"{module}:frame", per="table")
    assert [row["id"] for row in await house.rows(frame.output.table)] == [3, 2, 1]
    source = await house.run("python", function=f"{module}:source", columns={"day": "DATE"})
    assert await house.rows(source.output.table) == [{"day": "2026-01-02"}]


@pytest.mark.parametrize(
    ("function", "told"), [("none", "has no 'none'"), ("dies", "exit code 7"), ("upper.x", "has no 'upper.x'")]
)
async def test_what_can_not_be_called_fails_the_step(
    house: TableHouse, load: dict[str, StepOutput], module: str, function: str, told: str
) -> None:
    with pytest.raises(RequestError, match=told) as raised:
        await house.run("python", load, function=f"{module}:{function}")
    assert raised.value.code == "step_failed"


async def test_what_is_no_record_is_rejected(house: TableHouse, load: dict[str, StepOutput], module: str) -> None:
    done = await house.run("python", load, function=f"{module}:wrong")
    assert done.counts.failed == 3


async def test_a_cancelled_step_ends_its_process(house: TableHouse, load: dict[str, StepOutput], module: str) -> None:
    pid = house.folder / "pid"
    running = asyncio.ensure_future(house.run("python", load, function=f"{module}:hangs"))
    while not (pid.exists() and pid.read_text()) and not running.done():
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not exists(int(pid.read_text()))


async def test_a_fingerprint_follows_the_text_of_the_module(
    house: TableHouse, load: dict[str, StepOutput], module: str
) -> None:
    work = house.work("python", load, function=f"{module}:upper")
    first = await house.tables.fingerprint(work)
    with (house.folder / f"{module}.py").open("a") as file:
        file.write("# changed\n")
    assert first != await house.tables.fingerprint(work)
    assert await house.tables.fingerprint(house.work("python", load, function="no_such_module:f")) is None
    assert os.getcwd() not in str(first)
