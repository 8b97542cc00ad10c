"""OpenAI's files: uploads that are never held in memory, lists, deletion, content by range and by line."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import openai
import pytest

from tests.integration.batch_house import House, running_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path, is_working=False) as running:
        yield running


def form(data: bytes = b"x", **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    for name, value in fields.items():
        made.add_field(name, value)
    made.add_field("file", data, filename="in.jsonl", content_type="application/jsonl")
    return made


async def test_an_upload_comes_back_as_it_was(house: House) -> None:
    data = bytes(range(256)) * 5000
    file = await house.openai.files.create(file=("räum.jsonl", data), purpose="batch")
    assert (file.object, file.bytes, file.purpose, file.status) == ("file", len(data), "batch", "processed")
    assert file.filename == "räum.jsonl"
    assert file.id.startswith("file-")
    assert (await house.openai.files.retrieve(file.id)) == file
    content = await house.openai.files.content(file.id)
    assert content.content == data
    assert content.response.headers["content-disposition"].startswith('attachment; filename="r_um.jsonl"')


async def test_a_range_of_a_file_is_given(house: House) -> None:
    file_id = await house.upload(b"0123456789")
    for asked, status, expected in (
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=0-99", 206, b"0123456789"),
        ("bytes=10-", 416, b""),
        ("lines=1-2", 200, b"0123456789"),
    ):
        async with house.http.get(f"/v1/files/{file_id}/content", headers={"range": asked}) as reply:
            assert (reply.status, await reply.read()) == (status, expected), asked


async def test_files_are_listed_by_page_order_and_purpose(house: House) -> None:
    made = [await house.upload(b"x") for _ in range(3)]
    other = await house.upload(b"x", purpose="user_data")
    page = await house.openai.files.list(limit=2)
    assert ([file.id for file in page.data], page.has_more) == ([other, made[2]], True)
    assert [file.id async for file in house.openai.files.list(limit=2, order="asc")] == [*made, other]
    assert [file.id async for file in house.openai.files.list(purpose="user_data")] == [other]


async def test_a_deleted_file_is_gone(house: House) -> None:
    file_id = await house.upload(b"x")
    deleted = await house.openai.files.delete(file_id)
    assert (deleted.id, deleted.deleted, deleted.object) == (file_id, True, "file")
    with pytest.raises(openai.NotFoundError):
        await house.openai.files.retrieve(file_id)
    with pytest.raises(openai.NotFoundError):
        await house.openai.files.delete(file_id)


async def test_bad_uploads_are_refused(house: House) -> None:
    for sent, param in (
        (form(), "purpose"),
        (form(purpose="unknown"), "purpose"),
        (form(purpose="batch_output"), "purpose"),
        (form(purpose="batch", **{"expires_after[anchor]": "now"}), "expires_after[anchor]"),
        (
            form(purpose="batch", **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"}),
            "expires_after[seconds]",
        ),
    ):
        async with house.http.post("/v1/files", data=sent) as reply:
            assert (reply.status, (await reply.json())["error"]["param"]) == (400, param)
    async with house.http.post("/v1/files", json={"purpose": "batch"}) as reply:
        assert reply.status == 400
    headers = {"content-type": "multipart/form-data; boundary=b"}
    cut = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf of it'
    async with house.http.post("/v1/files", data=cut, headers=headers) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (400, "invalid_multipart")
    assert [file.id async for file in house.openai.files.list()] == []


async def test_an_expiry_is_kept(house: House) -> None:
    file = await house.openai.files.create(
        file=b"x", purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.expires_at == file.created_at + 3600


async def test_too_large_an_upload_is_refused_while_it_comes(tmp_path: Path) -> None:
    async with running_house(tmp_path, is_working=False, max_batch_bytes=1000) as house:
        async with house.http.post("/v1/files", data=form(b"x" * 1001, purpose="batch")) as reply:
            assert reply.status == 413
        assert await house.upload(b"x" * 1000)


async def test_a_repeated_upload_is_one_file(house: House) -> None:
    async def send(data: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        async with house.http.post("/files", data=form(data, purpose="batch"), headers=headers) as reply:
            return reply.status, (await reply.json()).get("id")

    key = {"Idempotency-Key": "k"}
    together = await asyncio.gather(*(send(b"a", key) for _ in range(5)))
    assert len(set(together)) == 1
    assert (await send(b"b", key))[0] == 409
    first = await send(b"c", {"x-stainless-retry-count": "0"})
    assert await send(b"c", {"x-stainless-retry-count": "2"}) == first
    assert await send(b"c", {"x-stainless-retry-count": "0"}) != first
    assert len([file.id async for file in house.openai.files.list()]) == 3
