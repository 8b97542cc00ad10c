"""Nothing of a prompt or an answer is left in any table or blob after its erasure, whichever way it came."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import pytest

from forebay.domain.job import TERMINAL, Status
from forebay.domain.query import JobQuery
from forebay.domain.rule import EVENT, EVENT_KEY
from forebay.engine.maintenance import Maintenance
from tests.integration.batch_house import CHAT, House, request, running_house

MARK = "7f3c-the-words-of-a-person"
LARGE = MARK + "x" * 100_000  # a body that is a blob
LATER_SECONDS = 7200.0  # than an orphan is swept


class Later:
    """The machine's clock, hours on."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now + LATER_SECONDS


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as running:
        yield running


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "mock", "messages": [{"role": "user", "content": text}], **more}


def places(folder: Path) -> list[str]:
    """Every table and blob that has the mark."""
    found = [
        str(path) for path in (folder / "blobs").rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()
    ]
    with closing(apsw.Connection(str(folder / "forebay.db"), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            if any(MARK in repr(row) for row in connection.execute(f'SELECT * FROM "{table}"')):
                found.append(str(table))
    return found


async def post(house: House, path: str, body: Any, **options: Any) -> Any:
    async with house.http.post(path, json=body, **options) as reply:
        content = await reply.read()
        assert reply.status < 500, content
        return reply.headers.get("x-forebay-job-id") or json.loads(content)["id"]


async def bulk(house: House, texts: list[str]) -> list[str]:
    lines = "\n".join(json.dumps({"body": chat(text)}) for text in texts)
    async with house.http.post("/v1/jobs/bulk", data=lines) as reply:
        return [json.loads(line)["id"] for line in (await reply.text()).splitlines()]


async def until_ended(house: House, job_ids: list[str]) -> None:
    jobs = house.system.services.jobs
    watch = jobs.watch([f"job:{job_id}" for job_id in job_ids])
    while not all(job is not None and job.status in TERMINAL for job in await jobs.get(None, job_ids)):
        await watch.next(1.0)
    watch.close()


async def delete(house: House, path: str) -> None:
    async with house.http.delete(path) as reply:
        assert reply.status == 200, await reply.text()


async def sweep(house: House) -> None:
    services = house.system.services
    later = replace(services, clock=Later(services.clock.now()))
    assert await Maintenance(later, lambda _: None).sweep_blobs()


async def test_jobs_leave_nothing_of_what_was_said(house: House, tmp_path: Path) -> None:
    ids = [
        await post(house, "/v1/jobs", {"body": chat(MARK)}),
        await post(house, "/v1/jobs", {"body": chat(LARGE)}),
        await post(house, "/v1/jobs", {"body": chat(f"{MARK} [[fault:422]]")}),
        *await bulk(house, [MARK, LARGE, f"{MARK} [[fault:400]]"]),
        await post(house, CHAT, chat(MARK)),
        await post(house, CHAT, chat(MARK, stream=True)),
        await post(house, CHAT, chat(f"{MARK} [[fault:400]]")),
        await post(house, "/v1/audio/speech", {"model": "mock", "input": MARK, "voice": "alloy"}),
    ]
    await until_ended(house, ids)
    assert {"bodies", "results", "chunks"} <= set(places(tmp_path))
    for job_id in ids:
        await delete(house, f"/v1/jobs/{job_id}")
    assert places(tmp_path) == [], "blobs go with their job, and not with a sweep"
    for job_id in ids:
        async with house.http.get(f"/v1/jobs/{job_id}") as reply:
            view = await reply.json()
        assert (reply.status, view["result"], len(view["attempts"])) == (200, None, 1)
    async with house.http.get("/v1/files") as reply:
        assert (await reply.json())["data"] == [], "the file of a binary answer goes with its job"


async def test_not_even_free_pages_of_the_file_have_what_was_erased(tmp_path: Path) -> None:
    async with running_house(tmp_path) as house:
        kept = await bulk(house, ["kept"] * 200)
        ids = await bulk(house, [MARK + "y" * 3000 * (number % 3) for number in range(200)])
        await until_ended(house, [*kept, *ids])
        for job_id in ids:
            await delete(house, f"/v1/jobs/{job_id}")
    assert not (tmp_path / "forebay.db-wal").exists(), "the log goes with the last process"
    assert MARK.encode() not in (tmp_path / "forebay.db").read_bytes()


async def test_a_batch_leaves_nothing_of_its_lines(house: House, tmp_path: Path) -> None:
    lines = [request("good", MARK), request("large", LARGE), request("refused", f"{MARK} [[fault:422]]")]
    made = await house.batch(b"".join(lines))
    done = await house.ended(made.id)
    assert (done.output_file_id is not None, done.error_file_id is not None) == (True, True)
    assert {"bodies"} <= set(places(tmp_path))
    await delete(house, f"/v1/jobs/{made.id.replace('batch_', 'job_')}")
    await delete(house, f"/v1/files/{made.input_file_id}")  # the client's own object
    for file_id in (done.output_file_id, done.error_file_id):
        async with house.http.get(f"/v1/files/{file_id}/content") as reply:
            assert reply.status == 404
    assert len(places(tmp_path)) == 2, "of the large line its request and its answer: they had no owner any more"
    await sweep(house)
    assert places(tmp_path) == []
    batch = await house.openai.batches.retrieve(made.id)
    assert batch.status == "completed"


async def test_a_line_that_failed_is_erased_from_its_batch_s_error_file_and_no_other_line_moves(
    house: House, tmp_path: Path
) -> None:
    texts = ["first [[fault:422]]", f"{MARK} [[fault:422]]", "last [[fault:422]]"]
    made = await house.batch(b"".join(request(f"r{number}", text) for number, text in enumerate(texts)))
    done = await house.ended(made.id)
    parent = made.id.replace("batch_", "job_")
    rows = await house.system.services.jobs.find(JobQuery(tenant=None, parent_id=parent, is_ascending=True))
    before = await house.openai.files.content(str(done.error_file_id))
    for _ in range(2):
        await delete(house, f"/v1/jobs/{rows[1].id}")
    after = await house.openai.files.content(str(done.error_file_id))
    assert len(after.content) == len(before.content)
    changed = [
        (old, new) for old, new in zip(before.text.splitlines(), after.text.splitlines(), strict=True) if old != new
    ]
    [(_, new)] = changed
    assert json.loads(new)["custom_id"] == "r1"
    assert (json.loads(new)["response"], json.loads(new)["error"]["code"]) == (None, "erased")
    await delete(house, f"/v1/files/{made.input_file_id}")
    await sweep(house)
    assert len(places(tmp_path)) == 1, "the batch keeps its input until it is erased itself"
    await delete(house, f"/v1/jobs/{parent}")
    await sweep(house)
    assert places(tmp_path) == []


async def test_a_line_of_a_batch_that_runs_is_not_erased(tmp_path: Path) -> None:
    async with running_house(tmp_path) as house:
        made = await house.batch(request("r0", f"{MARK} [[fault:422]]") + request("r1", "[[fault:hang]]"))
        parent = made.id.replace("batch_", "job_")
        query = JobQuery(tenant=None, parent_id=parent, statuses=frozenset({Status.FAILED}))
        while not (rows := await house.system.services.jobs.find(query)):
            await asyncio.sleep(0.01)
        async with house.http.delete(f"/v1/jobs/{rows[0].id}") as reply:
            assert reply.status == 409
            assert "has ended" in (await reply.json())["error"]["message"]


async def test_a_response_leaves_nothing_of_what_was_said(house: House, tmp_path: Path) -> None:
    made = await post(house, "/v1/responses", {"model": "mock", "input": MARK, "background": True, "stream": True})
    named = made if made.startswith("resp_") else made.replace("job_", "resp_")
    await until_ended(house, [job.id for job in await house.system.services.jobs.find(JobQuery(tenant=None))])
    assert "chunks" in places(tmp_path)
    await delete(house, f"/v1/responses/{named}")
    assert places(tmp_path) == []


async def test_a_deleted_file_leaves_nothing_and_a_batch_keeps_its_input(house: House, tmp_path: Path) -> None:
    form = aiohttp.FormData({"purpose": "user_data"})
    form.add_field("file", LARGE.encode(), filename="a.txt")
    async with house.http.post("/v1/files", data=form) as reply:
        made = await reply.json()
    assert len(places(tmp_path)) == 1
    await delete(house, f"/v1/files/{made['id']}")
    assert places(tmp_path) == []
    batch = await house.ended((await house.batch(request("good", MARK))).id)
    await delete(house, f"/v1/files/{batch.input_file_id}")
    assert batch.output_file_id is not None
    assert len(places(tmp_path)) == 2, "its input and its output"


async def test_a_form_and_a_message_batch_take_their_blobs_with_them(house: House, tmp_path: Path) -> None:
    form = aiohttp.FormData({"model": "mock", "prompt": MARK})
    form.add_field("file", MARK.encode(), filename="a.wav")
    async with house.http.post("/v1/audio/transcriptions", data=form) as reply:
        assert reply.status == 200
        job_id = reply.headers["x-forebay-job-id"]
    assert len(places(tmp_path)) == 2
    await delete(house, f"/v1/jobs/{job_id}")
    assert places(tmp_path) == []
    params = {"model": "mock", "max_tokens": 5, "messages": [{"role": "user", "content": MARK}]}
    asked = {"requests": [{"custom_id": "a", "params": params}]}
    async with house.http.post("/v1/messages/batches", json=asked) as reply:
        made = (await reply.json())["id"]
    await until_ended(house, [made.replace("msgbatch_", "job_")])
    assert len(places(tmp_path)) >= 1
    await delete(house, f"/v1/messages/batches/{made}")
    assert places(tmp_path) == []


@pytest.mark.parametrize("words", [MARK, LARGE], ids=["row", "blob"])
async def test_a_fan_out_takes_the_words_of_its_event_with_it(house: House, tmp_path: Path, words: str) -> None:
    send = {"copy": {"target": "mock", "body": chat("{detail.words}")}}
    rule = {"name": "ask", "pattern": {"source": ["shop"]}, "send": send}
    event = {"id": "1", "source": "shop", "detail-type": "asked", "detail": {"words": words}}
    for path, body in (("/v1/rules", rule), ("/v1/events", event)):
        async with house.http.post(path, json=body) as reply:
            made = await reply.json()
    fanout = made["data"][0]["matched"][0]["job_id"]
    await until_ended(house, [fanout])
    assert len(places(tmp_path)) > 1, "the request and the event"
    await delete(house, f"/v1/jobs/{fanout}")
    assert places(tmp_path) == []
    async with house.http.post("/v1/events", json=event) as reply:
        assert (await reply.json())["data"][0]["matched"][0]["job_id"] == fanout, "the event is still known"
    async with house.http.get("/v1/events") as reply:
        [listed] = (await reply.json())["data"]
    async with house.http.post("/v1/events/replay", json={"ids": [listed["record_id"]]}) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (409, "erased")


@pytest.mark.parametrize(("ttl", "kept"), [(3600.0, 86_400.0), (2 * 86_400.0, 2 * 86_400.0), (9e9, 7 * 86_400.0)])
async def test_an_event_is_kept_no_longer_than_results(tmp_path: Path, ttl: float, kept: float) -> None:
    async with running_house(tmp_path, is_working=False, result_ttl_seconds=ttl) as house:
        event = {"id": "1", "source": "shop", "detail-type": "asked", "detail": {}}
        async with house.http.post("/v1/events", json=event) as reply:
            assert reply.status == 202
        for kind in (EVENT, EVENT_KEY):
            [record] = await house.system.services.records.list("default", kind, limit=10)
            assert record.expires_at is not None
            assert record.expires_at - record.created_at == pytest.approx(kept, abs=1.0)


async def test_a_live_job_is_not_erased(house: House) -> None:
    job_id = await post(house, "/v1/jobs", {"body": chat(MARK), "not_before": "1h"})
    async with house.http.delete(f"/v1/jobs/{job_id}") as reply:
        assert reply.status == 409
