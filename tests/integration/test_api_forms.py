"""Model calls with files: the official client's forms, files named in JSON, and what the target is sent."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import openai
import pytest

from forebay.domain.query import JobQuery, Parts
from forebay.targets.clients import HttpLibrary
from forebay.testing.mock_model import MockModel
from tests.integration.message_house import House, Received, running_house

SOUND = bytes(range(256)) * 4096  # 1 MiB
PNG = b"\x89PNG\r\n\x1a\n" + b"\r\n--not-a-boundary\r\n" * 10
TRANSCRIPTIONS = "/v1/audio/transcriptions"
BODY = Parts(body=True)


class PartSeen(NamedTuple):
    filename: str | None
    content_type: str | None
    data: bytes


def parts_of(call: Received) -> list[tuple[str, PartSeen]]:
    """The form as another parser than ours reads it."""
    head = f"content-type: {call.headers['content-type']}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + call.body)
    return [
        (
            str(part.get_param("name", header="content-disposition")),
            PartSeen(part.get_filename(), part.get("content-type"), bytes(part.get_payload(decode=True))),
        )
        for part in form.iter_parts()  # type: ignore[attr-defined]
    ]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as running:
        yield running


async def test_a_transcription_goes_through_with_its_file_and_fields(house: House) -> None:
    made = await house.openai.audio.transcriptions.create(
        model="gpt-here", file=("talk.wav", SOUND, "audio/wav"), language="en", timestamp_granularities=["word"]
    )
    assert made.text == "spoken words"
    [call] = house.upstream.calls
    assert call.path == TRANSCRIPTIONS
    assert call.headers["authorization"] == "Bearer up-key"
    assert int(call.headers["content-length"]) == len(call.body)
    parts = dict(parts_of(call))
    assert parts["file"] == PartSeen("talk.wav", "audio/wav", SOUND)
    assert (parts["model"].data, parts["language"].data) == (b"gpt-here", b"en")
    assert parts["timestamp_granularities[]"].data == b"word"


async def test_a_transcription_is_streamed(house: House) -> None:
    events = await house.openai.audio.transcriptions.create(model="gpt-here", file=("t.wav", SOUND), stream=True)
    assert [event.type async for event in events] == ["transcript.text.delta", "transcript.text.done"]


async def test_the_jobs_body_names_the_file(house: House) -> None:
    await house.openai.audio.transcriptions.create(model="gpt-here", file=("talk.wav", b"abc"))
    [job] = await house.system.services.jobs.find(JobQuery(tenant="default"))
    [job] = [one for one in await house.system.services.jobs.get("default", [job.id], BODY) if one]
    [file] = [one async for one in house.openai.files.list()]
    assert job.body is not None
    assert job.body.text is not None
    assert f'"file":{{"file_id":"{file.id}"}}' in job.body.text
    assert (await house.openai.files.content(file.id)).content == b"abc"


async def test_to_erase_the_job_is_to_erase_the_forms_files(house: House) -> None:
    form = aiohttp.FormData({"model": "gpt-here"})
    form.add_field("file", b"abc", filename="talk.wav")
    async with house.http.post(TRANSCRIPTIONS, data=form) as reply:
        job_id = reply.headers["x-forebay-job-id"]
    async with house.http.delete(f"/v1/jobs/{job_id}") as reply:
        assert reply.status == 200
    assert [one async for one in house.openai.files.list()] == []


async def test_several_images_are_edited(house: House) -> None:
    made = await house.openai.images.edit(
        model="gpt-here", image=[("a.png", PNG, "image/png"), ("b.png", PNG[:20], "image/png")], prompt="a hat"
    )
    assert made.data
    assert made.data[0].b64_json == "aW1n"
    parts = parts_of(house.upstream.calls[0])
    images = [part for name, part in parts if name == "image[]"]
    assert [(image.filename, image.data) for image in images] == [("a.png", PNG), ("b.png", PNG[:20])]


async def test_a_json_body_names_an_uploaded_file(house: House) -> None:
    file = await house.openai.files.create(file=("memo.mp3", SOUND, "audio/mpeg"), purpose="user_data")
    body = {"model": "gpt-here", "file": {"file_id": file.id}, "temperature": 0.5, "prompt": None}
    job = await house.post("/v1/jobs", 202, json={"endpoint": TRANSCRIPTIONS, "body": body})
    async with house.http.get(f"/v1/jobs/{job['id']}?wait=30") as reply:
        done = await reply.json()
    assert (done["status"], done["result"]["body"]) == ("succeeded", {"text": "spoken words"})
    parts = dict(parts_of(house.upstream.calls[0]))
    assert parts["file"] == PartSeen("memo.mp3", "audio/mpeg", SOUND)
    assert parts["temperature"].data == b"0.5"
    assert "prompt" not in parts


async def test_a_file_deleted_before_the_call_is_sent_all_the_same(tmp_path: Path) -> None:
    async with running_house(tmp_path, is_working=False) as house:
        file = await house.openai.files.create(file=("secret memo.mp3", SOUND), purpose="user_data")
        body = {"model": "gpt-here", "file": {"file_id": file.id}}
        job = await house.post("/v1/jobs", 202, json={"endpoint": TRANSCRIPTIONS, "body": body})
        await house.openai.files.delete(file.id)
        async with house.system.worker(), house.http.get(f"/v1/jobs/{job['id']}?wait=30") as reply:
            assert (await reply.json())["status"] == "succeeded"
        sent = dict(parts_of(house.upstream.calls[0]))["file"]
        assert (sent.filename, sent.data) == ("file.mp3", SOUND)
        [kept] = await house.system.services.jobs.get("default", [job["id"]])
        assert kept is not None
        assert "secret" not in (kept.spec.args or "")


async def test_a_file_that_does_not_exist_is_refused_by_its_place(house: House) -> None:
    body = {"model": "gpt-here", "image": [{"file_id": "file-nobody"}]}
    refused = await house.post("/v1/jobs", 400, json={"endpoint": "/v1/images/edits", "body": body})
    assert (refused["error"]["code"], refused["error"]["param"]) == ("file_not_found", "image[]")


async def test_a_line_of_a_batch_names_a_file(house: House) -> None:
    picture = await house.openai.files.create(file=("cat.png", PNG, "image/png"), purpose="user_data")
    url = "/v1/images/edits"
    bodies = [{"model": "gpt-here", "prompt": "hat", "image": {"file_id": one}} for one in (picture.id, "file-no")]
    lines = [{"custom_id": str(n), "method": "POST", "url": url, "body": body} for n, body in enumerate(bodies)]
    data = "\n".join(map(json.dumps, lines)).encode()
    given = await house.openai.files.create(file=("in.jsonl", data), purpose="batch")
    made = await house.openai.batches.create(input_file_id=given.id, endpoint=url, completion_window="24h")
    async with house.http.get(f"/v1/jobs/{made.id.replace('batch_', 'job_')}?wait=60") as reply:
        assert (await reply.json())["status"] == "succeeded"
    assert dict(parts_of(house.upstream.calls[0]))["image"] == PartSeen("cat.png", "image/png", PNG)
    ended = await house.openai.batches.retrieve(made.id)
    assert ended.error_file_id is not None
    errors = json.loads((await house.openai.files.content(ended.error_file_id)).text)
    assert (errors["custom_id"], errors["error"]["code"]) == ("1", "file_not_found")


async def test_another_tenants_file_does_not_exist(house: House) -> None:
    keys = {}
    root: dict[str, str] = {}
    for tenant in ("default", "ours", "theirs"):  # the first key is the operator's; from then on every call needs one
        made = await house.post(
            "/v1/keys", 200, json={"tenant": tenant, "scopes": ["submit", "read", "admin"]}, headers=root
        )
        keys[tenant] = {"authorization": f"Bearer {made['key']}"}
        root = root or keys[tenant]
    form = aiohttp.FormData({"purpose": "user_data"})
    form.add_field("file", b"abc", filename="talk.wav")
    file = await house.post("/v1/files", 200, data=form, headers=keys["ours"])
    job = {"endpoint": TRANSCRIPTIONS, "body": {"model": "gpt-here", "file": {"file_id": file["id"]}}}
    refused = await house.post("/v1/jobs", 400, json=job, headers=keys["theirs"])
    assert refused["error"]["code"] == "file_not_found"
    await house.post("/v1/jobs", 202, json=job, headers=keys["ours"])


async def test_where_no_files_are_taken_the_body_stays_as_it_is(house: House) -> None:
    body = b'{"model":"gpt-here","input":{"file_id":"file-theirs"}}'
    async with house.http.post("/v1/embeddings", data=body) as reply:
        assert reply.status == 200
    assert house.upstream.calls[0].body == body


async def test_a_repeated_form_is_one_job_and_its_files_are_there_once(house: House) -> None:
    for retries in ("0", "1"):
        form = aiohttp.FormData({"model": "gpt-here"})
        form.add_field("file", SOUND, filename="talk.wav", content_type="audio/wav")
        headers = {"Idempotency-Key": "once", "x-stainless-retry-count": retries}
        async with house.http.post(TRANSCRIPTIONS, data=form, headers=headers) as reply:
            assert reply.status == 200, await reply.text()
    assert len(house.upstream.calls) == 1
    assert len([one async for one in house.openai.files.list()]) == 1
    other = aiohttp.FormData({"model": "gpt-here"})
    other.add_field("file", SOUND[1:], filename="talk.wav", content_type="audio/wav")
    async with house.http.post(TRANSCRIPTIONS, data=other, headers={"Idempotency-Key": "once"}) as reply:
        assert (reply.status, reply.headers["x-should-retry"]) == (409, "false")
    assert len([one async for one in house.openai.files.list()]) == 1


async def test_a_failed_call_sends_the_whole_form_again(house: House) -> None:
    house.upstream.status, house.upstream.error_body = 500, {"error": {"message": "oh"}}
    house.upstream.gate.clear()
    calling = asyncio.create_task(house.openai.audio.transcriptions.create(model="gpt-here", file=("t.wav", SOUND)))
    await house.upstream.came.wait()
    house.upstream.came.clear()
    house.upstream.gate.set()
    await house.upstream.came.wait()
    house.upstream.status = 200
    assert (await calling).text == "spoken words"
    assert {dict(parts_of(call))["file"].data for call in house.upstream.calls} == {SOUND}


async def test_a_form_without_a_model_is_refused_and_leaves_no_file(house: House) -> None:
    form = aiohttp.FormData()
    form.add_field("file", b"abc", filename="talk.wav")
    refused = await house.post(TRANSCRIPTIONS, 400, data=form)
    assert refused["error"]["param"] == "model"
    assert [one async for one in house.openai.files.list()] == []


@pytest.mark.parametrize("data", [b"", b"--x--", b"no form at all", b"--x\r\n\r\nabc"])
async def test_a_broken_form_is_refused(house: House, data: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    refused: Any = await house.post(TRANSCRIPTIONS, 400, data=data, headers=headers)
    assert refused["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("library", ["wreq", "aiohttp"])
async def test_both_http_libraries_stream_a_form(tmp_path: Path, library: str) -> None:
    async with running_house(tmp_path, http_client=HttpLibrary(library)) as house:
        await house.openai.audio.transcriptions.create(model="gpt-here", file=("talk.wav", SOUND))
        [call] = house.upstream.calls
        assert dict(parts_of(call))["file"].data == SOUND
        assert int(call.headers["content-length"]) == len(call.body)
        assert "transfer-encoding" not in call.headers


async def test_a_file_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    async with running_house(tmp_path, max_batch_bytes=1000) as house:
        with pytest.raises(openai.APIStatusError) as refused:
            await house.openai.audio.transcriptions.create(model="gpt-here", file=("talk.wav", SOUND))
        assert refused.value.status_code == 413


async def test_the_mock_model_hears_what_it_is_sent() -> None:
    async with MockModel() as mock, openai.AsyncOpenAI(base_url=mock.base_url, api_key="any") as client:
        heard = await client.audio.transcriptions.create(model="mock", file=("talk.wav", SOUND))
        assert heard.text == f"heard talk.wav: {len(SOUND)} bytes, crc32 {zlib.crc32(SOUND):08x}"
        edited = await client.images.edit(model="mock", image=[("a.png", PNG), ("b.png", PNG)], prompt="a hat", n=2)
        assert len(edited.data or []) == 2
