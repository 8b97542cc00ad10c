"""Texts that PostgreSQL can't keep: the character U+0000, which a model or an upstream may well say."""

from collections.abc import AsyncIterator

import pytest

from forebay.domain.job import JobError, Spec, Status
from forebay.domain.query import JobQuery, Parts
from forebay.domain.stored import StoredRecord
from forebay.ports import Clock
from forebay.stores.postgres import PostgresStore
from forebay.testing.conformance.world import World, opened
from tests.integration.postgres_house import empty_place, opened_at, server


@pytest.fixture
async def world() -> AsyncIterator[World]:
    place = await empty_place(server().url())

    async def open_it(clock: Clock) -> PostgresStore:
        return await opened_at(place, clock)

    async with opened(open_it) as world:
        yield world


async def test_a_stream_with_the_character_goes_on_with_a_mark_in_its_place(world: World) -> None:
    await world.add()
    claimed = await world.take()
    await world.jobs.append(claimed.job.id, claimed.fence, ["a\0b", "c"])
    assert [chunk.text for chunk in await world.jobs.read(claimed.job.id)] == ["a\N{REPLACEMENT CHARACTER}b", "c"]


async def test_an_error_with_the_character_ends_its_job_and_harms_no_other_of_its_commit(world: World) -> None:
    jobs = [await world.add(), await world.add()]
    claimed = await world.claim(slots=2)
    changes = [
        world.change(claimed[0], Status.FAILED, error=JobError(code="x", message="no\0")),
        world.change(claimed[1]),
    ]
    await world.jobs.apply(changes)
    rows = [await world.row(job.id) for job in jobs]
    assert [row.status for row in rows] == [Status.FAILED, Status.SUCCEEDED]
    assert rows[0].error == JobError(code="x", message="no\N{REPLACEMENT CHARACTER}")


async def test_metadata_with_the_character_is_kept_and_found(world: World) -> None:
    job = await world.add(spec=Spec(metadata={"who": "a\0b"}))
    [found] = await world.jobs.find(JobQuery(tenant="default", metadata={"who": "a\0b"}))
    assert (found.id, found.spec.metadata) == (job.id, {"who": "a\0b"})
    assert (await world.row(job.id, Parts(body=True))).body == job.body


async def test_a_record_with_the_character_is_kept_and_found(world: World) -> None:
    stored = await world.records.put(StoredRecord(kind="file", id="f", data='{"name": "a\\u0000b"}'))
    assert await world.records.list("default", "file", match={"name": "a\0b"}) == [stored]


async def test_a_question_with_the_character_finds_nothing(world: World) -> None:
    await world.add(key="ab")
    assert await world.jobs.find(JobQuery(tenant="default", key="a\0b")) == []
    assert await world.jobs.get(None, ["job\0"]) == [None]
    assert await world.records.get("default", "file", "f\0") is None
