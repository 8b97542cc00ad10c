"""Files as Anthropic's own client reads them, over the same paths that OpenAI's uses."""

from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import openai
import pytest

from tests.integration.api_server import Server, running_server

NO_FILE = "file-0"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="any", max_retries=0) as opened:
        yield opened


async def test_a_file_lives_and_goes_in_anthropics_shapes(client: anthropic.AsyncAnthropic) -> None:
    made = await client.beta.files.upload(file=("notes.txt", b"hello", "text/plain"), expires_in_seconds=3600)
    assert (made.type, made.filename, made.mime_type, made.size_bytes) == ("file", "notes.txt", "text/plain", 5)
    assert made.expires_at is not None
    assert (made.expires_at - made.created_at).total_seconds() == 3600
    assert await client.beta.files.retrieve_metadata(made.id) == made
    assert await (await client.beta.files.download(made.id)).read() == b"hello"
    deleted = await client.beta.files.delete(made.id)
    assert (deleted.id, deleted.type) == (made.id, "file_deleted")
    with pytest.raises(anthropic.NotFoundError):
        await client.beta.files.retrieve_metadata(made.id)


async def test_anthropics_client_pages_through_all_files_newest_first(client: anthropic.AsyncAnthropic) -> None:
    made = [(await client.beta.files.upload(file=(f"{place}.txt", b"x"))).id for place in range(5)]
    assert [one.id async for one in client.beta.files.list(limit=2)] == made[::-1]
    assert [one.id async for one in client.beta.files.list(ids=[made[1], NO_FILE])] == [made[1]]


async def test_older_clients_page_by_ids(server: Server, client: anthropic.AsyncAnthropic) -> None:
    first, second, third = [(await client.beta.files.upload(file=("x.txt", b"x"))).id for _ in range(3)]
    headers = {"anthropic-version": "2023-06-01"}
    page = await server.get("/v1/files?limit=1&after_id=" + third, headers=headers)
    assert ([one["id"] for one in page["data"]], page["has_more"], page["last_id"]) == ([second], True, second)
    page = await server.get("/v1/files?before_id=" + first, headers=headers)
    assert ([one["id"] for one in page["data"]], page["first_id"], page["last_id"]) == ([third, second], third, second)


@pytest.mark.parametrize("seconds", [3599, 7_776_001])
async def test_a_lifespan_out_of_anthropics_bounds_is_refused(client: anthropic.AsyncAnthropic, seconds: int) -> None:
    with pytest.raises(anthropic.BadRequestError):
        await client.beta.files.upload(file=("x.txt", b"x"), expires_in_seconds=seconds)


async def test_both_vendors_clients_see_the_same_file(server: Server, client: anthropic.AsyncAnthropic) -> None:
    made = await client.beta.files.upload(file=("x.txt", b"abc"))
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="any") as other:
        seen = await other.files.retrieve(made.id)
    assert (seen.object, seen.bytes, seen.purpose) == ("file", 3, "user_data")
