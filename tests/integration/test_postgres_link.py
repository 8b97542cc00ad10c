"""A link that is closed while it still connects: whoever connects finds out, and no connection stays open."""

import asyncio
from typing import Any

import asyncpg
import pytest

from forebay.domain.errors import StoreUnavailable
from forebay.stores.postgres import read_place
from forebay.stores.postgres.link import Link
from tests.integration.postgres_house import server


async def test_what_connects_as_its_link_is_closed_is_left_open_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    connect, asked, closed = asyncpg.connect, asyncio.Event(), asyncio.Event()
    made: list[Any] = []

    async def late(*words: Any, **options: Any) -> Any:
        asked.set()
        await closed.wait()
        made.append(await connect(*words, **options))
        return made[-1]

    monkeypatch.setattr(asyncpg, "connect", late)
    link = Link(read_place(server().url()), "late")
    using = asyncio.create_task(link.connection())
    await asked.wait()
    await link.close()
    closed.set()
    with pytest.raises(StoreUnavailable, match="closed"):
        await using
    assert [one.is_closed() for one in made] == [True]


async def test_a_closed_link_connects_no_more() -> None:
    link = Link(read_place(server().url()), "closed")
    await link.connection()
    await link.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await link.connection()
