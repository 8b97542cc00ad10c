"""What one store holds is the same in another after it was moved: every pair of back ends passes the suite."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from forebay.ports import Clock
from forebay.stores import postgres, sqlite
from forebay.testing.conformance.archiving import Ends, Hold
from forebay.testing.conformance.suite import ArchiveSuite
from forebay.testing.conformance.world import OpenedStore, OpenStore, opened
from forebay.testing.pooling import TransactionPooler
from forebay.testing.postgres import USER
from tests.integration.postgres_house import empty_place, server

PAIRS = [
    ("sqlite", "postgres"),
    ("postgres", "sqlite"),
    ("sqlite", "sqlite"),
    ("postgres", "postgres"),
    ("sqlite", "pooled"),
    ("pooled", "sqlite"),
]


@pytest.fixture(params=PAIRS, ids="-".join)
async def ends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ends]:
    source, target = request.param
    async with AsyncExitStack() as stack:
        port = server().port
        if "pooled" in request.param:
            pooler = TransactionPooler(server().port, user=USER, database="postgres")
            port = (await stack.enter_async_context(pooler)).port
        open_source, hold_source = await _store(source, tmp_path / "source.db", "moving_from", port)
        open_target, hold_target = await _store(target, tmp_path / "target.db", "moving_to", port)
        yield Ends(
            source=await stack.enter_async_context(opened(open_source)),
            hold_source=hold_source,
            target=await stack.enter_async_context(opened(open_target)),
            hold_target=hold_target,
        )


async def _store(name: str, path: Path, schema: str, port: int) -> tuple[OpenStore, Hold]:
    if name == "sqlite":

        async def open_file(clock: Clock) -> OpenedStore:
            return await sqlite.open_store(path, clock=clock)

        return open_file, partial(sqlite.hold_archive, path)
    place = await empty_place(f"{server().url()}?schema={schema}")
    if name == "pooled":
        place = postgres.read_place(f"{server().url(port=port)}?pooler=transaction&schema={schema}")

    async def open_schema(clock: Clock) -> OpenedStore:
        return await postgres.open_store(place, clock=clock)

    return open_schema, partial(postgres.hold_archive, place)


class TestArchives(ArchiveSuite):
    pass
