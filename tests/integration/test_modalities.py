"""Every modality of OpenAI's wire, in every way in: the official client, a durable job, a batch, a fan-out."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from forebay.testing.mock_model.answers import TINY_PNG
from tests.integration.test_api_engine import House, running_house

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # of some of the client's methods
SOUND = b"RIFF" + bytes(range(256)) * 8
ENDED = {"succeeded", "failed", "cancelled"}
PICTURE = {"model": "mock", "prompt": "a heron"}

Json = dict[str, Any]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as running:
        yield running


@pytest.fixture
async def client(house: House) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0) as made:
        yield made


async def submitted(house: House, order: Json) -> Json:
    """The job of an order, when it has ended."""
    async with house.http.post("/v1/jobs", json=order) as reply:
        job: Json = await reply.json()
        assert reply.status == 202, job
    async with asyncio.timeout(120):
        while job["status"] not in ENDED:
            async with house.http.get(f"/v1/jobs/{job['id']}?wait=30") as reply:
                job = await reply.json()
    return job


async def uploaded(client: AsyncOpenAI, name: str, data: bytes) -> str:
    return (await client.files.create(file=(name, data), purpose="user_data")).id


async def content(house: House, file: Json) -> bytes:
    async with house.http.get(f"/v1/files/{file['file_id']}/content") as reply:
        assert reply.status == 200
        return await reply.read()


async def test_the_official_client_makes_changes_and_varies_images(client: AsyncOpenAI) -> None:
    made = await client.images.generate(model="mock", prompt="a heron", n=2)
    linked = await client.images.generate(model="mock", prompt="a heron", response_format="url")
    edited = await client.images.edit(model="mock", image=("a.png", TINY_PNG), mask=("m.png", TINY_PNG), prompt="night")
    varied = await client.images.create_variation(model="mock", image=("a.png", TINY_PNG))
    for images in (made, edited, varied):
        assert images.data is not None
        assert base64.b64decode(images.data[0].b64_json or "") == TINY_PNG
    assert (len(made.data or []), len(linked.data or [])) == (2, 1)
    assert (linked.data or [])[0].url is not None


async def test_the_official_client_speaks_hears_translates_judges_and_embeds(client: AsyncOpenAI) -> None:
    spoken = await client.audio.speech.create(model="mock", voice="alloy", input="hello")
    heard = await client.audio.transcriptions.create(model="mock", file=("talk.wav", SOUND))
    plain = await client.audio.transcriptions.create(model="mock", file=("talk.wav", SOUND), response_format="text")
    translated = await client.audio.translations.create(model="mock", file=("talk.wav", SOUND))
    judged = await client.moderations.create(model="mock", input=["peace", "violence"])
    embedded = await client.embeddings.create(model="mock", input=["one", "two"])
    assert spoken.read()[:4] == b"RIFF"
    assert heard.text == translated.text
    assert heard.text.startswith(f"heard talk.wav: {len(SOUND)} bytes")
    assert str(plain).strip() == heard.text
    assert [result.flagged for result in judged.results] == [False, True]
    assert len(embedded.data) == 2


async def test_as_durable_jobs_json_stays_json_and_bytes_become_files(house: House, client: AsyncOpenAI) -> None:
    image = await submitted(house, {"endpoint": "/v1/images/generations", "body": PICTURE})
    assert base64.b64decode(image["result"]["body"]["data"][0]["b64_json"]) == TINY_PNG
    speech = await submitted(
        house, {"endpoint": "/v1/audio/speech", "body": {"model": "mock", "voice": "alloy", "input": "hello"}}
    )
    spoken = speech["result"]["body"]
    assert (spoken["object"], spoken["content_type"]) == ("file", "audio/wav")
    sound = await content(house, spoken)
    assert (sound[:4], len(sound)) == (b"RIFF", spoken["bytes"])
    heard = await submitted(
        house,
        {"endpoint": "/v1/audio/transcriptions", "body": {"model": "mock", "file": {"file_id": spoken["file_id"]}}},
    )
    assert f"{len(sound)} bytes" in heard["result"]["body"]["text"], "what one job made goes into the next"
    file_id = await uploaded(client, "a.png", TINY_PNG)
    edited = await submitted(
        house, {"endpoint": "/v1/images/edits", "body": {**PICTURE, "image": [{"file_id": file_id}]}}
    )
    varied = await submitted(
        house, {"endpoint": "/v1/images/variations", "body": {"model": "mock", "image": {"file_id": file_id}}}
    )
    for job in (edited, varied):
        assert job["result"]["body"]["data"][0]["b64_json"]
    judged = await submitted(house, {"endpoint": "/v1/moderations", "body": {"model": "mock", "input": "violence"}})
    assert judged["result"]["body"]["results"][0]["flagged"] is True
    embedded = await submitted(house, {"endpoint": "/v1/embeddings", "body": {"model": "mock", "input": "one"}})
    assert embedded["result"]["body"]["data"][0]["embedding"]
    assert embedded["usage"]["input_tokens"] > 0


async def test_a_translation_in_plain_text_is_a_file_of_a_job_and_text_to_who_waits(
    house: House, client: AsyncOpenAI
) -> None:
    file_id = await uploaded(client, "talk.wav", SOUND)
    body = {"model": "mock", "file": {"file_id": file_id}, "response_format": "srt"}
    job = await submitted(house, {"endpoint": "/v1/audio/translations", "body": body})
    file = job["result"]["body"]
    assert file["content_type"] == "text/plain"
    assert (await content(house, file)).startswith(b"heard talk.wav")


@pytest.mark.parametrize(
    ("endpoint", "body", "member"),
    [
        ("/v1/images/generations", PICTURE, "data"),
        ("/v1/images/edits", {**PICTURE, "image": "FILE"}, "data"),
        ("/v1/moderations", {"model": "mock", "input": "violence"}, "results"),
        ("/v1/embeddings", {"model": "mock", "input": ["one", "two"]}, "data"),
    ],
)
async def test_lines_of_a_batch(house: House, client: AsyncOpenAI, endpoint: str, body: Json, member: str) -> None:
    if body.get("image"):
        body = {**body, "image": {"file_id": await uploaded(client, "a.png", TINY_PNG)}}
    lines = [{"custom_id": f"c{n}", "method": "POST", "url": endpoint, "body": body} for n in range(3)]
    data = "\n".join(map(json.dumps, lines)).encode()
    file = await client.files.create(file=("in.jsonl", data), purpose="batch")
    batch = await client.batches.create(
        input_file_id=file.id,
        endpoint=endpoint,  # type: ignore[arg-type]  # one of a list that the parameters are of
        completion_window="24h",
    )
    async with asyncio.timeout(120):
        while (batch := await client.batches.retrieve(batch.id)).status not in ("completed", "failed"):
            await asyncio.sleep(0.05)
    assert (batch.status, batch.errors) == ("completed", None)
    answered = [json.loads(line) for line in (await client.files.content(batch.output_file_id or "")).text.splitlines()]
    assert {line["custom_id"] for line in answered} == {"c0", "c1", "c2"}
    assert all(line["response"]["body"][member] for line in answered)


async def test_branches_of_one_fan_out_are_of_every_modality(house: House, client: AsyncOpenAI) -> None:
    file_id = await uploaded(client, "talk.wav", SOUND)
    send = {
        "picture": {"target": "gpt", "endpoint": "/v1/images/generations", "body": PICTURE},
        "voice": {
            "target": "gpt",
            "endpoint": "/v1/audio/speech",
            "body": {"model": "mock", "voice": "alloy", "input": "{detail.name}"},
        },
        "text": {
            "target": "gpt",
            "endpoint": "/v1/audio/transcriptions",
            "body": {"model": "mock", "file": {"file_id": file_id}},
        },
        "vector": {"target": "gpt", "endpoint": "/v1/embeddings", "body": {"model": "mock", "input": "{detail.name}"}},
        "verdict": {"target": "gpt", "endpoint": "/v1/moderations", "body": {"model": "mock", "input": "peace"}},
        "film": {"target": "gpt", "endpoint": "/v1/videos", "body": {"model": "mock", "prompt": "{detail.name}"}},
    }
    rule = {"name": "all", "pattern": {"source": ["shop"]}, "send": send}
    async with house.http.post("/v1/rules", json=rule) as reply:
        assert reply.status in {200, 201}, await reply.text()
    event = {"source": "shop", "detail-type": "product.created", "detail": {"name": "heron"}}
    async with house.http.post("/v1/events", json=event) as reply:
        [told] = (await reply.json())["data"]
    async with house.http.get(f"/v1/jobs/{told['matched'][0]['job_id']}?wait=60") as reply:
        job = await reply.json()
    assert job["status"] == "succeeded", job
    entries = job["result"]["body"]
    assert {entry["status"] for entry in entries.values()} == {"succeeded"}, entries
    assert list(entries) == list(send)
    assert entries["voice"]["body"]["content_type"] == "audio/wav"
    assert entries["film"]["body"]["content_type"] == "video/mp4"
    assert entries["text"]["body"]["text"].startswith("heard talk.wav")
    assert (await content(house, entries["film"]["body"]))[4:12] == b"ftypmp42"
