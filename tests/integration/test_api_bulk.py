"""Many jobs in one request."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.errors import StoreUnavailable
from forebay.domain.query import JobQuery
from tests.integration.api_server import CHAT, Server, running_server

GOOD = json.dumps({"body": CHAT})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path, max_body_bytes=20_000) as running:
        yield running


async def bulk(server: Server, data: Any, **headers: str) -> list[dict[str, Any]]:
    async with server.http.post("/v1/jobs/bulk", data=data, headers=headers) as reply:
        assert reply.status == 200, await reply.text()
        assert reply.headers["content-type"].startswith("application/x-ndjson")
        return [json.loads(line) for line in (await reply.text()).splitlines()]


async def test_every_line_gets_its_reply_in_order(server: Server) -> None:
    lines = "\n".join(json.dumps({"body": CHAT, "priority": n % 100}) for n in range(1234))
    replies = await bulk(server, lines.encode())
    assert [reply["index"] for reply in replies] == list(range(1234))
    assert {reply["status"] for reply in replies} == {"queued"}
    assert set(replies[0]) == {"index", "id", "status"}
    stored = await server.services.jobs.get("default", [reply["id"] for reply in replies])
    assert [job.priority for job in stored if job] == [n % 100 for n in range(1234)]


async def test_a_bad_line_refuses_only_itself(server: Server) -> None:
    bad = [
        "{",
        '{"body": {"model": "nobody"}}',
        '{"bdy": {}}',
        '{"body": {"model":"gpt-model","x":"\\ud800"}}',
        "x" * 30_000,
    ]
    lines = [GOOD, *bad, GOOD]
    replies = await bulk(server, "\n".join(lines).encode() + b"\n\xff\xfe\n" + GOOD.encode())
    assert [("id" in reply, reply["index"]) for reply in replies] == [
        (True, 0), (False, 1), (False, 2), (False, 3), (False, 4), (False, 5), (True, 6), (False, 7), (True, 8),
    ]  # fmt: skip
    codes = [reply["error"]["code"] for reply in replies if "error" in reply]
    assert codes == [
        "invalid_json", "model_not_found", "unknown_parameter", "invalid_json", "request_too_large", "invalid_json",
    ]  # fmt: skip
    assert set(replies[1]["error"]) == {"message", "type", "param", "code"}


async def test_an_empty_request_has_an_empty_reply(server: Server) -> None:
    assert await bulk(server, b"") == []
    assert await bulk(server, b"\n\n") == []


async def test_a_line_is_known_again_by_its_own_key(server: Server) -> None:
    line = json.dumps({"body": CHAT, "idempotency_key": "k"})
    other = json.dumps({"body": CHAT, "idempotency_key": "k", "priority": 1})
    first, again, conflict = await bulk(server, f"{line}\n{line}\n{other}".encode())
    assert first["id"] == again["id"]
    assert conflict["error"]["code"] == "idempotency_conflict"


async def test_the_requests_key_makes_its_lines_known_again(server: Server) -> None:
    lines = "\n".join([GOOD] * 3).encode()
    first = await bulk(server, lines, **{"Idempotency-Key": "all"})
    again = await bulk(server, lines, **{"Idempotency-Key": "all"})
    assert first == again
    assert len({reply["id"] for reply in first}) == 3
    assert len(await server.services.jobs.find(JobQuery(tenant="default"))) == 3


async def test_lines_are_taken_as_they_come(server: Server) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        data = "\n".join([GOOD] * 5).encode()
        for start in range(0, len(data), 17):
            yield data[start : start + 17]

    assert len(await bulk(server, pieces())) == 5


async def test_a_store_that_is_away_from_the_start_refuses_the_whole_request(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.services.jobs, "add", failing(server.services.jobs.add, after=0))
    async with server.http.post("/v1/jobs/bulk", data=GOOD) as reply:
        assert reply.status == 503
        assert reply.headers["retry-after"]


async def test_a_store_that_goes_away_refuses_only_what_was_not_durable_yet(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.services.jobs, "add", failing(server.services.jobs.add, after=1))
    replies = await bulk(server, "\n".join([GOOD] * 501).encode())
    assert ["id" in reply for reply in replies] == [True] * 500 + [False]
    assert replies[500]["error"]["code"] == "store_unavailable"
    assert len(await server.services.jobs.find(JobQuery(tenant="default", limit=1000))) == 500


def failing(add: Any, after: int) -> Any:
    """The verb, out of order after so many calls."""
    calls = 0

    async def away(jobs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise StoreUnavailable("the disk is full")
        return await add(jobs)

    return away
