"""What the acceptance tests of PostgreSQL share: an installation of several machines' folders on one store."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from forebay.blobs.postgres import open_postgres_blobs
from forebay.domain.ids import IdSource
from forebay.domain.job import LIVE, Job
from forebay.domain.query import JobQuery
from forebay.stores.postgres import check, migrate, open_store, read_place
from forebay.testing.calls import Calls, mismatches
from forebay.testing.history import read_history, violations
from forebay.testing.homes import Inside
from forebay.testing.postgres import PostgresServer, postgres_server
from forebay.testing.processes import LONGEST_SECONDS

from .faults_support import until

CONFIGURATION = """
store: {store}
lease_seconds: {lease}
targets:
  mock: {{type: openai, base_url: "{mock}", models: [mock], limits: {{concurrency: 16}}}}
  other: {{type: openai, base_url: "{mock}", models: [other], limits: {{concurrency: 16}}}}
"""
_schemas = count()


@contextmanager
def made_server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


async def made_store(server: PostgresServer, parameters: str = "") -> str:
    """The address of a new store on it."""
    url = server.url() + f"?schema=machines{next(_schemas)}{parameters}"
    await migrate(read_place(url))
    return url


def machine(folder: Path, store: str, mock: str, *, lease: float = 30, more: str = "") -> Path:
    """The folder of one machine, configured."""
    folder.mkdir(exist_ok=True)
    (folder / "forebay.yaml").write_text(CONFIGURATION.format(store=store, mock=mock, lease=lease) + more)
    return folder


@asynccontextmanager
async def looked_into(store: str) -> AsyncIterator[Inside]:
    opened = await open_store(store)
    try:
        yield Inside(opened.jobs, await open_postgres_blobs(opened.backend, ids=IdSource()))
    finally:
        await opened.close()


async def until_ended(inside: Inside, *, seconds: float = LONGEST_SECONDS) -> None:
    """Waits until no job is live."""
    query = JobQuery(tenant=None, parent_id=None, statuses=LIVE, limit=1)

    async def is_over() -> bool:
        return not await inside.jobs.find(query)

    await until(is_over, seconds=seconds)


async def checked(store: str, accepted: list[str], calls: dict[str, Any]) -> dict[str, Job]:
    """The accepted jobs by id, after history, ledger and tables were found to be right."""
    async with looked_into(store) as inside:
        await until_ended(inside)
        history = await read_history(*inside)
    assert violations(history, accepted=accepted) == []
    assert list(mismatches(history, Calls.of(calls))) == []
    assert await check(read_place(store)) == []
    return {job_id: history.jobs[job_id] for job_id in accepted}
