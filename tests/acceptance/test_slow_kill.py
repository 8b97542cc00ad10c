"""kill -9 of who waits for slow work, and of a hub in mid-work: the remote end saw one submission, and one job."""

from pathlib import Path
from typing import Any

import aiohttp

from forebay.testing.ports import free_port

from .faults_support import change, configure, counted, get, hold, http, let_go, until
from .processes import started

ENDED = {"succeeded", "failed", "cancelled"}
FILM_BYTES = 48_000_000
VIDEO = {"endpoint": "/v1/videos", "body": {"model": "mock", "prompt": "a heron over a still lake"}}
EDGE = """
store: sqlite:///forebay.db
targets:
  hub: {{type: forebay, base_url: "http://127.0.0.1:{port}", models: [mock]}}
"""


async def test_a_video_survives_the_deaths_of_who_waits_for_it_and_is_made_once(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address)
        await change(session, mock.address, video_polls=1_000_000, video_bytes=FILM_BYTES)
        await hold(session, mock.address)
        job_id = ""
        for seen in ("POST", "GET", "GET"):  # it dies in its submission, and twice between polls
            before = await _count(session, mock.address, seen)
            async with started("serve", "--port", "0", folder=tmp_path) as server:
                job_id = job_id or await _submitted(session, server.address, VIDEO)
                await _until_counted(session, mock.address, seen, before + 1)
                await server.kill()
            await let_go(session, mock.address)
        await change(session, mock.address, video_polls=1)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            await _until_counted(session, mock.address, "content", 1)
            await server.kill()  # in its download, or right after it
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            view = await _ended(session, server.address, job_id)
            assert view["status"] == "succeeded", view["error"]
            file = view["result"]["body"]
            async with session.get(f"{server.address}/v1/files/{file['file_id']}/content") as reply:
                assert len(await reply.read()) == FILM_BYTES
        assert [attempt["outcome"] for attempt in view["attempts"]] == ["unknown", "succeeded"]
        made = await get(session, f"{mock.address.removesuffix('/v1')}/v1/videos")
        assert len(made["data"]) == 1
        keys = (await counted(session, mock.address))["by_idempotency_key"]
        assert list(keys.values()) == [2], "the submission that nobody knew the end of came again under its key"


async def test_a_hub_that_dies_in_mid_work_and_an_edge_that_dies_too_make_one_job(tmp_path: Path) -> None:
    (edge := tmp_path / "edge").mkdir()
    (hub := tmp_path / "hub").mkdir()
    port = free_port()
    (edge / "forebay.yaml").write_text(EDGE.format(port=port))
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(hub, mock.address)
        await hold(session, mock.address)
        async with started("serve", "--port", "0", folder=edge) as first:
            body = {"model": "mock", "messages": [{"role": "user", "content": "hello"}]}
            job_id = await _submitted(session, first.address, {"body": body})
            await _until_tried(session, first.address, job_id)
            async with started("serve", "--port", str(port), folder=hub) as there:
                await _until_counted(session, mock.address, "/chat/completions", 1)
                await there.kill()
            await first.kill()
        await let_go(session, mock.address)
        async with (
            started("serve", "--port", str(port), folder=hub) as there,
            started("serve", "--port", "0", folder=edge) as second,
        ):
            view = await _ended(session, second.address, job_id)
            assert view["status"] == "succeeded", view["error"]
            [job] = (await get(session, f"{there.address}/v1/jobs"))["data"]
        assert view["result"]["body"]["choices"][0]["message"]["content"] == "echo: hello"
        assert (view["usage"], view["cost_usd"]) == (job["usage"], job["cost_usd"])
        assert view["attempts"][-1]["outcome"] == "succeeded"


async def _submitted(session: aiohttp.ClientSession, server: str, order: dict[str, Any]) -> str:
    async with session.post(f"{server}/v1/jobs", json=order) as reply:
        assert reply.status == 202, await reply.text()
        return str((await reply.json())["id"])


async def _ended(session: aiohttp.ClientSession, server: str, job_id: str) -> dict[str, Any]:
    while True:
        view: dict[str, Any] = await get(session, f"{server}/v1/jobs/{job_id}?wait=60")
        if view["status"] in ENDED:
            return view


async def _until_tried(session: aiohttp.ClientSession, server: str, job_id: str) -> None:
    """Waits until the edge has found its hub away."""

    async def was_tried() -> bool:
        view = await get(session, f"{server}/v1/jobs/{job_id}")
        return any(attempt["outcome"] == "unavailable" for attempt in view["attempts"])

    await until(was_tried)


async def _count(session: aiohttp.ClientSession, mock: str, of: str) -> int:
    counts = (await counted(session, mock))["by_endpoint"]
    names = {"POST": "/videos", "GET": "GET /videos/{id}", "content": "GET /videos/{id}/content"}
    return int(counts.get(names.get(of, of), 0))


async def _until_counted(session: aiohttp.ClientSession, mock: str, of: str, times: int) -> None:
    async def has_them() -> bool:
        return await _count(session, mock, of) >= times

    await until(has_them)
