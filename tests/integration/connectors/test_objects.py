"""Objects of a bucket and files of the web as sources, and objects as sinks."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from moto.s3.models import FakeBucket

from forebay.domain.errors import RequestError, TargetUnavailable
from tests.integration.connectors.table_house import TableHouse, table_house
from tests.integration.s3_house import BUCKET, drop_bucket, empty_bucket


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TableHouse]:
    async with table_house(tmp_path) as opened:
        yield opened


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    yield empty_bucket(monkeypatch)
    drop_bucket()


async def test_a_table_goes_to_an_object_and_comes_back(house: TableHouse, bucket: FakeBucket) -> None:
    house.file("in.csv", "id\n1\n2\n")
    load = await house.run("read", path="in.csv")
    for name in ("b", "a", "sub/c", ".hidden"):
        await house.run("write", {"load": load.output}, path=f"s3://{BUCKET}/in/{name}.csv")
    for path, files in (
        ("in/a.csv", ["a.csv"]),
        ("in/*.csv", [".hidden.csv", "a.csv", "b.csv"]),
        ("in/**/[ac].csv", ["a.csv", "sub/c.csv"]),
    ):
        back = await house.run("read", path=f"s3://{BUCKET}/{path}")
        assert [one.path for one in back.output.sources] == [f"s3://{BUCKET}/in/{name}" for name in files]
        assert back.counts.succeeded == 2 * len(files)
    below = await house.run("read", path=f"s3://{BUCKET}/in/")
    assert [row["path"] for row in await house.rows(below.output.table)] == ["a.csv", "b.csv", "sub/c.csv"]


async def test_fingerprints_of_objects_are_what_the_bucket_says(house: TableHouse, bucket: FakeBucket) -> None:
    house.file("in.csv", "id\n1\n")
    load = await house.run("read", path="in.csv")
    path = f"s3://{BUCKET}/out.parquet"
    reading, writing = house.work("read", path=path), house.work("write", {"load": load.output}, path=path)
    absent = await house.tables.fingerprint(writing)
    await house.tables.run(writing)
    written, read = await house.tables.fingerprint(writing), await house.tables.fingerprint(reading)
    await house.tables.run(writing)
    assert await house.tables.fingerprint(writing) == written != absent
    house.file("in.csv", "id\n2\n")
    other = await house.run("read", path="in.csv")
    await house.run("write", {"load": other.output}, path=path)
    assert await house.tables.fingerprint(reading) != read
    assert await house.tables.fingerprint(writing) != written


async def test_an_upload_that_fails_leaves_the_old_object_and_no_parts(
    house: TableHouse, bucket: FakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"{i},{'x' * 100}\n" for i in range(100_000))
    house.file("in.csv", "id,text\n" + rows)
    load = await house.run("read", path="in.csv")
    path = f"s3://{BUCKET}/out.jsonl"
    await house.run("write", {"load": load.output}, path=path)
    before = bucket.keys["out.jsonl"].value

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no more parts")

    monkeypatch.setattr(type(bucket), "complete_multipart", broken, raising=False)
    monkeypatch.setattr("moto.s3.models.S3Backend.complete_multipart_upload", broken)
    with pytest.raises(TargetUnavailable):
        await house.run("write", {"load": load.output}, path=path)
    assert bucket.keys["out.jsonl"].value == before


async def test_what_is_not_in_the_bucket_is_told(house: TableHouse, bucket: FakeBucket) -> None:
    for path in (f"s3://{BUCKET}/none.csv", f"s3://{BUCKET}/none/*.csv", "s3://no-such-bucket/a.csv"):
        with pytest.raises(RequestError) as raised:
            await house.run("read", path=path)
        assert raised.value.code == "source_failed"


async def test_a_file_of_the_web_is_read_and_its_signature_never_told(house: TableHouse) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path != "/in.csv":
            return web.Response(status=404 if request.path == "/none.csv" else 503)
        return web.Response(text="id\n1\n", headers={"ETag": '"e1"'})

    application = web.Application()
    application.router.add_get("/{name}", answer)
    async with TestServer(application, host="127.0.0.1") as server:
        base = str(server.make_url("/"))
        load = await house.run("read", path=f"{base}in.csv?signature=geheim")
        assert await house.rows(load.output.table) == [{"id": "1"}]
        assert [one.path for one in load.output.sources] == [f"{base}in.csv"]
        first = await house.tables.fingerprint(house.work("read", path=f"{base}in.csv"))
        assert first == await house.tables.fingerprint(house.work("read", path=f"{base}in.csv"))
        with pytest.raises(RequestError, match="404") as raised:
            await house.run("read", path=f"{base}none.csv?signature=geheim")
        assert "geheim" not in str(raised.value)
        with pytest.raises(TargetUnavailable):
            await house.run("read", path=f"{base}busy.csv")
