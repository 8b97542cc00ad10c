"""An installation in mid-run is moved from SQLite to PostgreSQL by the commands, and goes on there."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from forebay.app import open_storage
from forebay.domain.job import TERMINAL, Status
from forebay.settings import load_settings
from forebay.testing.calls import Calls, mismatches
from forebay.testing.history import History, read_history, violations
from tests.integration.postgres_house import empty_place, server

from .faults_support import CONFIGURATION, counted, get, hold, http, let_go, order, submit, until
from .processes import started
from .run_support import Ended, forebay

LINES, CONCURRENCY = 160, 8
LARGE = "large " * 20_000  # a body that stands in a blob
ORDERS = [
    order("later", not_before="1h"),
    order("cancelled", not_before="1h"),
    order("failed [[fault:422]]"),
    order("succeeded"),
    order(LARGE, idempotency_key="large"),
]
CALLED = 3  # of these, before the move


@pytest.mark.parametrize(("number", "form"), [(signal.SIGTERM, "moving.tar"), (signal.SIGKILL, "moving")])
async def test_a_batch_in_mid_run_is_finished_by_the_store_it_was_moved_to(
    tmp_path: Path, number: signal.Signals, form: str
) -> None:
    async with started("mock-model", "--port", "0", "--latency-ms", "10", folder=tmp_path) as mock, http() as session:
        old, new = await _homes(tmp_path, mock.address, number.name.lower())
        ids = await _break_off(session, mock.address, old, number)
        await _move(old, new, tmp_path / form)
        before = await _history(old)
        assert {job.status for job in before.jobs.values()} >= {Status.QUEUED, *TERMINAL}
        assert not before.jobs[ids[-1]].is_terminal
        assert await _history(new) == before
        async with started("serve", "--port", "0", folder=new) as there:
            again = await submit(session, there.address, ORDERS)
            assert again == ids[:-1], "their keys were used in the store that they came from"
            await until(lambda: _have_ended(new, ids[1:]))
            await _is_whole(session, there.address, ids[-1])
            assert await there.terminate() == 0
        calls = Calls.of(await counted(session, mock.address))
    after = await _history(new)
    assert violations(after, accepted=ids) == []
    assert list(mismatches(after, calls)) == []
    if number is signal.SIGTERM:
        assert calls.total == LINES + CALLED, "nobody was called twice"


def test_a_store_or_an_archive_that_is_not_there_is_one_sentence_and_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "forebay.yaml").write_text("store: sqlite:///forebay.db")
    for command in ("export", "import"):
        refused = forebay("store", command, "a.tar", cwd=tmp_path)
        assert (refused.code, "There is no" in refused.err, "Traceback" in refused.err) == (2, True, False)
    assert [path.name for path in tmp_path.iterdir()] == ["forebay.yaml"]


async def _homes(folder: Path, mock: str, schema: str) -> tuple[Path, Path]:
    """Two installations that differ in their store."""
    url = f"{server().url()}?schema=moved_by_{schema}"
    await empty_place(url)
    homes = folder / "old", folder / "new"
    for home, store in zip(homes, ("sqlite:///forebay.db", url), strict=True):
        home.mkdir()
        text = CONFIGURATION.format(mock=mock, concurrency=CONCURRENCY, lease=30)
        (home / "forebay.yaml").write_text(text.replace("sqlite:///forebay.db", store))
    return homes


async def _break_off(session: aiohttp.ClientSession, mock: str, folder: Path, number: signal.Signals) -> list[str]:
    """Gives an installation work of every sort and stops it in the middle of a batch, whose id comes last."""
    async with started("serve", "--port", "0", folder=folder) as running:
        ids = await submit(session, running.address, ORDERS)
        async with session.post(f"{running.address}/v1/jobs/{ids[1]}/cancel") as reply:
            assert reply.status < 300, await reply.text()
        await until(lambda: _have_ended(folder, ids[1:]))
        refused = await _command("store", "export", "early.tar", folder=folder)
        assert (refused.code, "stop every server and worker" in refused.err) == (2, True)
        await hold(session, mock, after=CALLED + LINES // 2)
        batch = await _post_batch(session, running.address)

        async def is_half_done() -> bool:
            return bool((await counted(session, mock))["total"] == CALLED + LINES // 2 + CONCURRENCY)

        await until(is_half_done)
        running.send(number)
        await let_go(session, mock)
        await running.ended()
    return [*ids, batch]


async def _move(old: Path, new: Path, archive: Path) -> None:
    exported = await _command("store", "export", archive, "--json", folder=old)
    assert exported.code == 0, exported.err
    imported = await _command("store", "import", archive, "--json", folder=new)
    assert imported.code == 0, imported.err
    assert imported.json == exported.json
    assert imported.json["parts"]["jobs"]["rows"] > len(ORDERS)
    assert imported.json["blobs"]["count"] >= 2
    refused = await _command("store", "import", archive, folder=new)
    assert (refused.code, "is not empty" in refused.err) == (2, True)
    checked = await _command("store", "check", folder=new)
    assert (checked.code, checked.out) == (0, "nothing wrong\n")


async def _is_whole(session: aiohttp.ClientSession, address: str, job_id: str) -> None:
    batch = await get(session, f"{address}/v1/batches/{job_id.replace('job_', 'batch_')}")
    assert batch["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
    async with session.get(f"{address}/v1/files/{batch['output_file_id']}/content") as reply:
        lines = [json.loads(line) for line in (await reply.text()).splitlines()]
    assert Counter(line["custom_id"] for line in lines) == Counter(f"line-{n}" for n in range(LINES))


async def _post_batch(session: aiohttp.ClientSession, address: str) -> str:
    messages = [{"role": "user", "content": "hello"}]
    line = {"method": "POST", "url": "/v1/chat/completions", "body": {"model": "mock", "messages": messages}}
    text = "\n".join(json.dumps({**line, "custom_id": f"line-{number}"}) for number in range(LINES))
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", text, filename="lines.jsonl")
    async with session.post(f"{address}/v1/files", data=form) as reply:
        file_id = (await reply.json())["id"]
    asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    async with session.post(f"{address}/v1/batches", json=asked) as reply:
        assert reply.status == 200, await reply.text()
        return str((await reply.json())["id"]).replace("batch_", "job_")


async def _have_ended(folder: Path, ids: Sequence[str]) -> bool:
    async with open_storage(load_settings(folder / "forebay.yaml", {})) as storage:
        return all(job is not None and job.is_terminal for job in await storage.store.jobs.get(None, ids))


async def _history(folder: Path) -> History:
    async with open_storage(load_settings(folder / "forebay.yaml", {})) as storage:
        return await read_history(storage.store.jobs, storage.blobs)


async def _command(*words: str | Path, folder: Path) -> Ended:
    return await asyncio.to_thread(forebay, *words, cwd=folder)
