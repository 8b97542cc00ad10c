"""Objects that appear below a prefix of a bucket: listed in pages, each version begins one run."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from forebay.connectors.arrivals import Places, buckets
from forebay.domain.schedule import SCHEDULE, schedule_data
from forebay.engine.triggers.files import LIST_SECONDS
from forebay.engine.triggers.watching import FileTriggers
from tests.integration.pipelines.house import opened
from tests.integration.s3_house import BUCKET, drop_bucket, empty_bucket
from tests.integration.schedule_house import House, allowing, args_of, opened_house

ON = {"files": f"s3://{BUCKET}/inbox/*.csv", "name": "inbox"}


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    empty_bucket(monkeypatch)
    async with opened_house(tmp_path, "sqlite") as opened:
        yield opened


async def watcher(house: House, **on: Any) -> FileTriggers:
    services = replace(await house.server(allowing(on={**ON, **on})), arrivals=Places())
    return FileTriggers(services)


def put(*keys: str, body: bytes = b"id\n1\n") -> None:
    client = boto3.client("s3", region_name="us-east-1")
    for key in keys:
        client.put_object(Bucket=BUCKET, Key=key, Body=body)
    client.close()


async def look(watching: FileTriggers, house: House) -> int:
    house.clock.advance(LIST_SECONDS)
    return await watching.step()


async def test_each_version_of_an_object_begins_one_run_at_once(house: House) -> None:
    watching, other = await watcher(house), await watcher(house)
    put("inbox/a.csv", "inbox/b.txt", "inbox/deep/c.csv", "elsewhere/d.csv")
    assert await look(watching, house) == 1  # an object is never half there
    [run] = await house.runs()
    detail = args_of(run).trigger.detail
    assert isinstance(detail, dict)
    assert (detail["path"], detail["name"], detail["bytes"]) == (f"s3://{BUCKET}/inbox/a.csv", "a.csv", 5)
    assert detail["digest"]
    assert await look(other, house) == 0
    put("inbox/a.csv")  # the same again
    assert await look(watching, house) == 0
    put("inbox/a.csv", body=b"id\n2\n")
    assert await look(watching, house) == 1
    assert await look(await watcher(house), house) == 0


async def test_more_objects_than_a_page_are_all_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "PAGE", 3)
    watching = await watcher(house, files=f"s3://{BUCKET}/many/")
    put(*[f"many/{number}" for number in range(10)])
    assert await look(watching, house) == 10
    assert await look(watching, house) == 0


async def test_a_bucket_that_is_not_there_is_told_and_found_when_it_comes(house: House) -> None:
    drop_bucket()
    watching = await watcher(house)
    assert await look(watching, house) == 0
    record = await house.servers[0].records.get("default", SCHEDULE, "inbox")
    assert record is not None
    assert "NoSuchBucket" in (schedule_data(record).last_error or "")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    client.close()
    put("inbox/a.csv")
    assert await look(watching, house) == 1


async def test_an_object_that_goes_before_its_run_begins_none(house: House) -> None:
    class Losing(Places):
        async def digest(self, arrival: Any) -> str | None:
            client = boto3.client("s3", region_name="us-east-1")
            client.delete_object(Bucket=BUCKET, Key="inbox/a.csv")
            client.close()
            return await super().digest(arrival)

    services = replace(await house.server(allowing(on=ON)), arrivals=Losing())
    put("inbox/a.csv")
    assert await look(FileTriggers(services), house) == 0
    assert await house.runs() == []


async def test_a_run_reads_the_object_that_began_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_bucket(monkeypatch)
    put("inbox/a.csv")
    config = f"""
  inbox:
    on: {{files: "s3://{BUCKET}/inbox/*.csv"}}
    steps:
      load: {{read: "{{run.trigger.detail.path}}"}}
      save: {{write: "out/{{run.trigger.detail.name}}.jsonl", from: load}}
"""
    async with opened(tmp_path, config) as installation:
        assert await FileTriggers(installation.system.services).step() == 1
        await installation.worker.run_until_idle()
    assert (tmp_path / "out" / "a.csv.jsonl").read_text() == '{"id":"1"}\n'
