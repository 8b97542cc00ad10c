"""Hostile batch files through HTTP, by the official client: the batch's end, its errors, and a server that goes on."""

import asyncio
import gzip
import json
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai.types import Batch

from forebay.domain.batch import MOST_ERRORS
from forebay.policy.json_text import DEEPEST
from tests.integration.batch_house import CHAT, House, request, running_house

MEGABYTE = 1 << 20
GOOD = request("good")


def odd(custom_id: str, members: str) -> bytes:
    """A line with further members in its body, as they are written."""
    messages = '"messages": [{"role": "user", "content": "hello"}]'
    body = f'{{"model": "mock", {messages}, {members}}}'
    return f'{{"custom_id": "{custom_id}", "method": "POST", "url": "{CHAT}", "body": {body}}}\n'.encode()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as opened:
        yield opened


def told(batch: Batch) -> list[tuple[str | None, int | None]]:
    assert batch.errors is not None
    return [(error.code, error.line) for error in batch.errors.data or []]


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        (b"", [("empty_file", None)]),
        (b"\n\r\n \n\n", [("empty_file", None)]),
        (b"{", [("invalid_json_line", 1)]),
        (b"\xef\xbb\xbf" + GOOD, [("invalid_json_line", 1)]),
        (GOOD + b"\xff\xfe\n" + GOOD, [("invalid_json_line", 2), ("duplicate_custom_id", 3)]),
        (GOOD + b"\0\n", [("invalid_json_line", 2)]),
        (b"\n\n" + odd("deep", '"x": ' + "[" * 10_000 + "]" * 10_000), [("invalid_json_line", 3)]),
        (odd("lone", r'"x": "\ud800"'), [("invalid_json_line", 1)]),
        (odd("deep", '"x": ' + "[" * DEEPEST + "]" * DEEPEST), [("invalid_json_line", 1)]),
        (b"{}\r\n" * 2, [("missing_required_parameter", line) for line in (1, 1, 1, 1, 2, 2, 2, 2)]),
    ],
)
async def test_what_is_wrong_with_a_file_is_told_with_its_lines(
    house: House, data: bytes, errors: list[tuple[str, int | None]]
) -> None:
    batch = await house.ended((await house.batch(data)).id)
    assert (batch.status, told(batch)) == ("failed", errors)
    assert (await house.http.get("/readyz")).status == 200


async def test_lines_that_are_only_odd_are_all_answered(house: House) -> None:
    lines = [
        request("a").rstrip() + b"\r\n",
        b"\r\n",
        odd("b", '"seed": 123456789012345678901234567890'),
        odd("c", '"x": 1e400, "y": -1E-999'),
        odd("d", '"same": 1, "same": 2'),
        odd("e", '"x": ' + "[" * (DEEPEST - 2) + "]" * (DEEPEST - 2)),
        odd("f", r'"x": "\u0000\u2028"'),
        request("𝄞" * 300),
        b"   " + request("last").strip(),
    ]
    batch = await house.ended((await house.batch(b"".join(lines))).id)
    assert batch.status == "completed"
    answered = {line["custom_id"] for line in await house.lines(batch.output_file_id)}
    assert answered == {"a", "b", "c", "d", "e", "f", "𝄞" * 300, "last"}


async def test_every_error_of_many_is_told_up_to_a_thousand(house: House) -> None:
    batch = await house.ended((await house.batch(b"nonsense\n" * (MOST_ERRORS + 500))).id)
    assert told(batch) == [("invalid_json_line", line) for line in range(1, MOST_ERRORS + 1)]


async def test_a_million_equal_ids_are_told_as_duplicates(house: House) -> None:
    batch = await house.ended((await house.batch(GOOD * 1_000_000)).id)
    assert told(batch) == [("duplicate_custom_id", line) for line in range(2, MOST_ERRORS + 2)]


async def test_a_line_of_fifty_megabytes_is_judged_like_any_other(house: House) -> None:
    long = odd("long", '"x": "' + "x" * (50 * MEGABYTE) + '"')
    batch = await house.ended((await house.batch(long + b"nonsense\n")).id)
    assert told(batch) == [("invalid_json_line", 2)]


async def test_a_custom_id_of_ten_megabytes_comes_back_whole_or_is_refused(house: House) -> None:
    batch = await house.ended((await house.batch(request("x" * (10 * MEGABYTE)))).id)
    if batch.status == "failed":
        assert [line for _, line in told(batch)] == [1]
    else:
        [answered] = await house.lines(batch.output_file_id)
        assert len(answered["custom_id"]) == 10 * MEGABYTE


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * MEGABYTE


async def post_form(house: House, content: Any) -> dict[str, Any]:
    form = aiohttp.FormData()
    form.add_field("purpose", "user_data")
    form.add_field("file", content, filename="large.bin")
    async with house.http.post("/v1/files", data=form) as reply:
        assert reply.status == 200
        file: dict[str, Any] = await reply.json()
        return file


async def test_an_upload_of_two_hundred_megabytes_does_not_live_in_memory(house: House) -> None:
    def peak_bytes() -> int:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    await post_form(house, aiohttp.payload.AsyncIterablePayload(pieces(20)))
    before = peak_bytes()
    file = await post_form(house, aiohttp.payload.AsyncIterablePayload(pieces(200)))
    assert file["bytes"] == 200 * MEGABYTE
    assert peak_bytes() - before < 60 * MEGABYTE


async def test_an_upload_that_is_cut_leaves_no_file_and_a_server_that_goes_on(house: House) -> None:
    host, port = house.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    part = '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    writer.write((head + "Content-Length: 100000\r\n\r\n" + part).encode() + b"x" * 5000)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    del reader
    assert (await house.openai.files.list()).data == []
    assert (await house.ended((await house.batch(GOOD)).id)).status == "completed"


async def test_a_body_that_is_packed_is_refused_by_name(house: House) -> None:
    packed = gzip.compress(json.dumps({"model": "mock", "messages": []}).encode())
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    for path in ("/v1/files", "/v1/batches", "/v1/jobs", CHAT):
        async with house.http.post(path, data=packed, headers=headers) as reply:
            assert reply.status == 415
            assert (await reply.json())["error"]["code"] == "unsupported_content_encoding"
