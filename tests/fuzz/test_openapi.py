"""The description of the API, tried out by schemathesis: no 5xx, and every reply as it is described."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.fuzz.described import described
from tests.fuzz.strategies import FACTOR
from tests.integration.api_server import Hand, running_server

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
EXAMPLES = 5 * max(FACTOR, 1)  # of each operation and phase
SEED = "1"


async def answer(hand: Hand) -> None:
    """Answers every job, as a worker would."""
    while True:
        await hand.succeed(await hand.take())


@pytest.mark.timeout(1200)  # thousands of requests, on however busy a machine
async def test_every_operation_answers_as_it_is_described(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        answering = asyncio.create_task(answer(server.hand))
        (tmp_path / "openapi.json").write_text(json.dumps(await described(server)))
        new = await server.post("/v1/keys", json={"scopes": ["submit", "read", "admin"]})
        report = await schemathesis(server.url, new["key"], tmp_path)
        answering.cancel()
    assert "❌" not in report, report[-8000:]
    assert "Test cases:" in report, report[-8000:]


async def schemathesis(url: str, key: str, folder: Path) -> str:
    """What it says of the server."""
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", "--no-color", "--suppress-health-check=all"),
        *("--checks", ",".join(CHECKS), "-n", str(EXAMPLES), "--request-timeout", "20"),
        *("--exclude-path", "/v1/jobs/bulk"),  # of NDJSON it makes nothing
        *("--exclude-operation-id", "delete_keys_id"),  # it would revoke its own
        *("-H", f"Authorization: Bearer {key}"),
        *("--exclude-path", "/v1/jobs/{id}/events"),  # of a delayed job it has no end
        *(("--generation-database", "none") if FACTOR else ("--generation-deterministic", "--seed", SEED)),
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        *("openapi.json", "--url", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
    )
    said, _ = await process.communicate()
    return said.decode(errors="replace")
