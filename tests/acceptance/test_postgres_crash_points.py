"""Each named crash point once, on PostgreSQL: the next process goes on, and nothing is lost or done twice."""

import json
from pathlib import Path

import pytest

from forebay.testing.crashing import Backing
from forebay.testing.ports import free_port
from forebay.testing.slots import KILLED

from .faults_support import counted, http
from .postgres_support import checked, looked_into, machine, made_server, made_store, until_ended
from .processes import started
from .test_crash_points import AT_ONCE, IN_SERVERS, OF_STARTS, ONCE, RECORDS, Client, armed, die

#: Before a verb was asked for is as before any call; these are where something is half-way.
HALF_WAY = [name for name in IN_SERVERS if not name.endswith(".asked")]
IN_RUNS = ["store.opened", "blob.written", "add.committed", "apply.committed", "segment.written", "partial.written"]


@pytest.mark.slow
async def test_a_server_or_a_run_that_dies_at_any_point_loses_nothing(tmp_path: Path) -> None:
    with made_server() as server:
        async with (
            started("mock-model", "--port", "0", "--latency-ms", "5", folder=tmp_path) as mock,
            http() as session,
        ):
            store = await made_store(server)
            machine(tmp_path, store, mock.address, lease=1)
            port = free_port()
            client = Client(session, f"http://127.0.0.1:{port}", tmp_path / ONCE)
            for point in HALF_WAY:
                async with armed(point, ("serve", "--port", str(port)), tmp_path, Backing.POSTGRESQL) as dying:
                    await die(dying, client, point)
            for place, point in enumerate(IN_RUNS):
                await _run_twice(tmp_path, place, point)
            async with started("serve", "--port", "0", folder=tmp_path) as last, looked_into(store) as inside:
                await until_ended(inside)
                assert await last.terminate() == 0
            jobs = await checked(store, client.accepted, await counted(session, mock.address))
            assert len(jobs) >= sum(not point.startswith(OF_STARTS) for point in HALF_WAY)


async def _run_twice(folder: Path, place: int, point: str) -> None:
    output = f"out-{place}.jsonl"
    (folder / "in.jsonl").write_text("".join(f'{{"text": "r{number}"}}\n' for number in range(RECORDS)))
    command = ("run", "in.jsonl", "-o", output, "--prompt", f"{place} {{text}}", "--model", "mock")
    async with armed(point, command, folder, Backing.POSTGRESQL) as run:
        assert await run.ended() == KILLED, (point, await run.said())
    async with started(*command, folder=folder, ready=AT_ONCE) as again:
        assert await again.ended() == 0, (point, await again.said())
    rows = [json.loads(line) for line in (folder / output).read_text().splitlines()]
    assert rows == [{"text": f"r{n}", "output": f"echo: {place} r{n}"} for n in range(RECORDS)], point
