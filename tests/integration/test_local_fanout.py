"""Fan-outs over real local models that are killed, given rubbish, or not there."""

import asyncio
import base64
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import forebay
from forebay.api.server import serve
from forebay.app import open_system
from forebay.client.views import JobView
from forebay.settings import load_settings
from tests.integration.test_local_media import data_url, page
from tests.integration.test_local_model import children

LIMIT_SECONDS = 300.0
CONFIGURATION = """
store: "sqlite:///forebay.db"
targets:
  meaning: {type: local, model: multilingual-e5-small}
  reader: {type: local, model: pp-ocrv6-small}
  absent: {type: local, model: whisper-tiny.en}
rules:
  - name: page
    pattern: {source: [scanner]}
    send:
      vector: {target: meaning, body: {input: "{detail.text}"}}
      words:
        target: reader
        body: {messages: [{role: user, content: [{type: image_url, image_url: "{detail.picture}"}]}]}
      sound:
        target: absent
        body: {file: "{detail.recording}"}
"""
PICTURE = data_url(page("Page 17"))
RUBBISH = f"data:image/png;base64,{base64.b64encode(b'no picture').decode()}"


@asynccontextmanager
async def installation(folder: Path) -> AsyncIterator[forebay.AsyncClient]:
    """A server with a worker, in this process; the models are its children."""
    (folder / "forebay.yaml").write_text(CONFIGURATION)
    async with open_system(load_settings(folder / "forebay.yaml", {})) as system, system.worker():
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(system, port=0, ready=started.set_result))
        client = forebay.AsyncClient(await started)
        try:
            yield client
        finally:
            await client.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def sent(client: forebay.AsyncClient, **detail: Any) -> str:
    """Publishes a page; returns the fan-out's id."""
    receipt = await client.events.send({"source": "scanner", "detail-type": "page", "detail": detail})
    return receipt.matched[0].job_id


async def entries(client: forebay.AsyncClient, job_id: str) -> dict[str, Any]:
    job = await client.jobs.wait(job_id, timeout=LIMIT_SECONDS)
    assert job.result is not None
    return dict(job.result.body)


async def branch_of(client: forebay.AsyncClient, job_id: str, target: str) -> JobView:
    [branch] = [one for one in await client.jobs.list(parent_id=job_id) if one.target == target]
    return await client.jobs.get(branch.id)


async def until_called(client: forebay.AsyncClient, job_id: str, target: str) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            if await client.jobs.list(parent_id=job_id) and (await branch_of(client, job_id, target)).attempts:
                return
            await asyncio.sleep(0.05)


async def told_of(client: forebay.AsyncClient, job_id: str, target: str) -> str:
    """What the ledger says of a branch's first call, once it has ended."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while (error := (await branch_of(client, job_id, target)).attempts[0].error) is None:
            await asyncio.sleep(0.05)
    return error


@pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")
async def test_a_model_killed_in_the_middle_of_a_fan_out_is_started_again_and_harms_no_other(tmp_path: Path) -> None:
    async with installation(tmp_path) as client:
        others = set(children(os.getpid()))
        warm = await client.jobs.submit(model="multilingual-e5-small", body={"input": "by its model's name"})
        assert (warm.target, warm.endpoint) == ("meaning", "/v1/embeddings")
        await client.jobs.wait(warm.id, timeout=LIMIT_SECONDS)
        [victim] = set(children(os.getpid())) - others

        await entries(client, await sent(client, text="warm", picture=PICTURE))

        os.kill(victim, signal.SIGSTOP)  # it takes the call, and does not answer
        job_id = await sent(client, text="a page", picture=PICTURE)
        await until_called(client, job_id, "meaning")
        with contextlib.suppress(ProcessLookupError):  # its guard was so patient, and is no more
            os.kill(victim, signal.SIGKILL)

        found = await entries(client, job_id)
        assert found["words"]["body"]["choices"][0]["message"]["content"] == "Page 17"
        assert len(found["vector"]["body"]["data"][0]["embedding"]) == 384
        killed = await branch_of(client, job_id, "meaning")
        assert len(killed.attempts) > 1
        assert killed.attempts[-1].outcome == "succeeded"
        assert (await branch_of(client, job_id, "reader")).attempt_count == 1


async def test_what_is_wrong_with_one_branch_is_told_once_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path / "empty"))  # no model was pulled
    async with installation(tmp_path) as client:
        file = await client.files.create(b"RIFF", purpose="user_data", filename="a.wav")
        recording = {"file_id": file.id}
        job_id = await sent(client, text="a page", picture=RUBBISH, recording=recording)
        await until_called(client, job_id, "absent")
        told = await told_of(client, job_id, "absent")
        assert "run `forebay models pull whisper-tiny.en`" in told
        for target in ("meaning", "reader"):
            [_] = [one async for one in client.jobs.as_completed([(await branch_of(client, job_id, target)).id])]
        await client.jobs.cancel(job_id)  # the one that waits for its model
        with pytest.raises(forebay.JobFailed) as ended:
            await client.jobs.wait(job_id, timeout=LIMIT_SECONDS)
        found = ended.value.job.result.body
        assert [one["status"] for one in found.values()] == ["succeeded", "failed", "cancelled"]
        assert found["words"]["error"]["code"] == "target_rejected"
        assert "of no known format" in found["words"]["error"]["message"]
        assert (await client.jobs.get(found["words"]["job_id"])).attempt_count == 1

        found = await entries(client, await sent(client, text="", picture=PICTURE))
        assert [one["status"] for one in found.values()] == ["failed", "succeeded", "failed"]
        assert "input[0] is empty" in found["vector"]["error"]["message"]
        assert "detail.recording" in found["sound"]["error"]["message"]

        with pytest.raises(forebay.RequestError, match="it serves /v1/embeddings") as refused:
            await client.jobs.submit(target="meaning", endpoint="/v1/chat/completions", body={"messages": []})
        assert refused.value.code == "endpoint_not_supported"
