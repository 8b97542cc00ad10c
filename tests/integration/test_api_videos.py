"""Videos: the official client, unmodified, against the server, a real worker and a mock model behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from forebay.testing.mock_model import MockOptions
from tests.integration.test_api_engine import House, running_house

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")
PROMPT = "a heron over a still lake"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(2000)
JOB_ENDED = {"succeeded", "failed", "cancelled"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as running:
        yield running


@pytest.fixture
async def client(house: House) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0) as made:
        yield made


async def ended(house: House, job_id: str) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while True:
            async with house.http.get(f"/v1/jobs/{job_id}?wait=30") as reply:
                job: dict[str, Any] = await reply.json()
            if job["status"] in JOB_ENDED:
                return job


def made_upstream(house: House) -> int:
    count: int = house.mock.calls["by_endpoint"].get("/videos", 0)
    return count


async def test_the_official_client_creates_polls_and_downloads(house: House, client: AsyncOpenAI) -> None:
    video = await client.videos.create_and_poll(
        model="mock", prompt=PROMPT, seconds="8", size="1280x720", poll_interval_ms=20
    )
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (video.model, video.prompt, video.seconds, video.size) == ("mock", PROMPT, "8", "1280x720")
    assert (video.completed_at or 0) >= video.created_at
    content = await client.videos.download_content(video.id)
    film = content.read()
    assert film[4:12] == b"ftypmp42"
    assert (len(film), content.response.headers["content-type"]) == (4096, "video/mp4")
    assert made_upstream(house) == 1


async def test_a_create_is_answered_at_once_and_a_poll_tells_how_far_it_is(tmp_path: Path) -> None:
    options = MockOptions(video_polls=1000)
    async with (
        running_house(tmp_path, options) as house,
        AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0) as client,
    ):
        video = await client.videos.create(model="mock", prompt=PROMPT)
        assert (video.object, video.status, video.progress) == ("video", "queued", 0)
        with pytest.raises(openai.BadRequestError) as caught:
            await client.videos.download_content(video.id)
        assert caught.value.code == "video_not_ready"
        async with asyncio.timeout(120):
            while (await client.videos.retrieve(video.id)).status == "queued":
                await asyncio.sleep(0.01)
        gone = await client.videos.delete(video.id)
        assert (gone.id, gone.deleted, gone.object) == (video.id, True, "video.deleted")
        with pytest.raises(openai.NotFoundError):
            await client.videos.retrieve(video.id)
        async with asyncio.timeout(120):
            while not house.mock.calls["by_endpoint"].get("DELETE /videos/{id}"):
                await asyncio.sleep(0.01)


async def test_a_reference_goes_up_as_a_file(house: House, client: AsyncOpenAI) -> None:
    video = await client.videos.create_and_poll(
        model="mock", prompt=PROMPT, input_reference=("first.png", PNG, "image/png"), poll_interval_ms=20
    )
    assert video.status == "completed"
    job = await ended(house, video.id.replace("video_", "job_"))
    reference = job["result"]["body"]["details"]["reference"]
    assert (reference["filename"], reference["bytes"]) == ("first.png", len(PNG))


async def test_videos_are_listed_newest_first_in_pages(house: House, client: AsyncOpenAI) -> None:
    made = [(await client.videos.create(model="mock", prompt=f"{PROMPT} {number}")).id for number in range(3)]
    assert [video.id async for video in client.videos.list(limit=2)] == made[::-1]
    page = await client.videos.list(limit=2, order="asc")
    assert [video.id for video in page.data] == made[:2]
    await client.videos.delete(made[0])
    assert [video.id async for video in client.videos.list()] == made[:0:-1]


async def test_what_the_vendor_refuses_to_make_has_failed_with_its_reason(house: House, client: AsyncOpenAI) -> None:
    video = await client.videos.create_and_poll(
        model="mock", prompt=f"{PROMPT} [[video:moderation_blocked]]", poll_interval_ms=20
    )
    assert video.status == "failed"
    assert video.error is not None
    assert (video.error.code, "moderation_blocked" in video.error.message) == ("target_rejected", True)
    assert made_upstream(house) == 1, "asked for again, it would be refused again"


async def test_a_repeated_create_is_the_same_video(house: House, client: AsyncOpenAI) -> None:
    headers = {"Idempotency-Key": "film-1"}
    first = await client.videos.create(model="mock", prompt=PROMPT, extra_headers=headers)
    again = await client.videos.create(model="mock", prompt=PROMPT, extra_headers=headers)
    assert first.id == again.id
    assert [video.id async for video in client.videos.list()] == [first.id]


async def test_as_a_job_it_is_one_attempt_whose_result_is_a_file_with_the_vendors_video(house: House) -> None:
    job = {"endpoint": "/v1/videos", "model": "mock", "body": {"model": "mock", "prompt": PROMPT}}
    async with house.http.post("/v1/jobs", json=job) as reply:
        submitted = await reply.json()
        assert reply.status == 202, submitted
    done = await ended(house, submitted["id"])
    assert done["status"] == "succeeded", done["error"]
    body = done["result"]["body"]
    assert (body["object"], body["content_type"], body["bytes"]) == ("file", "video/mp4", 4096)
    assert (body["details"]["object"], body["details"]["status"]) == ("video", "completed")
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["succeeded"]
    async with house.http.get(f"/v1/files/{body['file_id']}/content", headers={"range": "bytes=4-11"}) as reply:
        assert (reply.status, await reply.read()) == (206, b"ftypmp42")
    async with house.http.get(f"/v1/videos/{done['id'].replace('job_', 'video_')}") as reply:
        assert (await reply.json())["status"] == "completed"


async def test_lines_of_a_batch_and_branches_of_a_fan_out_are_videos_too(house: House, client: AsyncOpenAI) -> None:
    lines = [
        {"custom_id": f"c{n}", "method": "POST", "url": "/v1/videos", "body": {"model": "mock", "prompt": f"no {n}"}}
        for n in range(3)
    ]
    data = "\n".join(json.dumps(line) for line in lines).encode()
    file = await client.files.create(file=("in.jsonl", data), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/videos", completion_window="24h")
    fan = {"targets": ["gpt"], "endpoint": "/v1/videos", "body": {"model": "mock", "prompt": "of a fan-out"}}
    async with house.http.post("/v1/jobs", json=fan) as reply:
        fanned = await ended(house, (await reply.json())["id"])
    entry = fanned["result"]["body"]["gpt"]
    assert (entry["status"], entry["body"]["content_type"]) == ("succeeded", "video/mp4")
    async with asyncio.timeout(120):
        while (batch := await client.batches.retrieve(batch.id)).status not in ("completed", "failed"):
            await asyncio.sleep(0.05)
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (3, 0)
    text = (await client.files.content(batch.output_file_id or "")).text
    bodies = {line["custom_id"]: line["response"]["body"] for line in map(json.loads, text.splitlines())}
    assert {name: body["details"]["prompt"] for name, body in bodies.items()} == {f"c{n}": f"no {n}" for n in range(3)}
    assert made_upstream(house) == 4


async def test_what_is_not_served_of_videos_is_refused_by_name(house: House, client: AsyncOpenAI) -> None:
    video = await client.videos.create_and_poll(model="mock", prompt=PROMPT, poll_interval_ms=20)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.videos.download_content(video.id, variant="thumbnail")
    assert caught.value.code == "not_supported"
    with pytest.raises(openai.BadRequestError) as caught:
        await client.videos.remix(video.id, prompt="at night")
    assert caught.value.code == "not_supported"


async def test_how_far_it_is_shows_in_the_jobs_events(tmp_path: Path) -> None:
    async with running_house(tmp_path, MockOptions(video_polls=5)) as house:
        job = {"endpoint": "/v1/videos", "model": "mock", "body": {"model": "mock", "prompt": PROMPT}}
        async with house.http.post("/v1/jobs", json=job) as reply:
            job_id = (await reply.json())["id"]
        told = []
        async with asyncio.timeout(120), house.http.get(f"/v1/jobs/{job_id}/events") as stream:
            async for line in stream.content:
                if line.startswith(b"data: "):
                    told.append(json.loads(line[6:]))
    types = [event["type"] for event in told]
    assert types[:2] == ["job.queued", "attempt.started"]
    assert types[-2:] == ["attempt.finished", "job.succeeded"]
    progress = [event["progress"] for event in told if event["type"] == "job.progress"]
    assert progress, "it is told while it is made"
    assert {one["total"] for one in progress} == {100}
    assert [one["succeeded"] for one in progress] == sorted({one["succeeded"] for one in progress})
    assert types.count("attempt.started") == 1, "a poll is no attempt"
