"""RecordStore: small documents that change only against the version that was read."""

import asyncio

import pytest
from msgspec.structs import replace

from forebay.domain.errors import VersionConflict
from forebay.domain.stored import StoredRecord
from forebay.testing.conformance.world import World


class RecordStoreSuite:
    async def test_a_record_is_read_back_whole_with_its_first_version(self, world: World) -> None:
        record = _record(world, tenant="a", data='{"name":"ünï"}', expires_at=world.clock.now() + 9, blobs=("blob_1",))
        stored = await world.records.put(record)
        assert stored == replace(record, version=1)
        assert await world.records.get("a", "file", "one") == stored

    async def test_a_new_record_is_refused_where_one_stands(self, world: World) -> None:
        await world.records.put(_record(world, data='{"n": "1"}'))
        with pytest.raises(VersionConflict):
            await world.records.put(_record(world, data='{"n": "2"}'))
        found = await world.records.get("default", "file", "one")
        assert found is not None
        assert (found.version, found.data) == (1, '{"n": "1"}')

    async def test_a_record_changes_against_its_version_alone(self, world: World) -> None:
        first = await world.records.put(_record(world))
        second = await world.records.put(replace(first, data='{"n": "2"}'))
        assert second.version == 2
        with pytest.raises(VersionConflict):
            await world.records.put(replace(first, data='{"n": "3"}'))
        assert await world.records.get("default", "file", "one") == second

    async def test_a_change_of_a_record_that_is_gone_is_refused(self, world: World) -> None:
        first = await world.records.put(_record(world))
        await world.records.delete("default", "file", "one")
        with pytest.raises(VersionConflict):
            await world.records.put(first)
        assert await world.records.get("default", "file", "one") is None

    async def test_of_many_that_change_one_version_together_one_wins(self, world: World) -> None:
        first = await world.records.put(_record(world))
        changes = [world.records.put(replace(first, data=f'{{"n": "{n}"}}')) for n in range(10)]
        replies = await asyncio.gather(*changes, return_exceptions=True)
        won = [reply for reply in replies if isinstance(reply, StoredRecord)]
        assert len(won) == 1
        assert all(isinstance(reply, StoredRecord | VersionConflict) for reply in replies)
        assert await world.records.get("default", "file", "one") == won[0]

    async def test_tenant_kind_and_id_make_a_record(self, world: World) -> None:
        places = [("a", "file", "one"), ("b", "file", "one"), ("a", "key", "one"), ("a", "file", "two")]
        for tenant, kind, record_id in places:
            await world.records.put(_record(world, tenant=tenant, kind=kind, id=record_id))
        assert await world.records.get("b", "key", "one") is None
        assert await world.records.delete("a", "file", "one")
        left = [await world.records.get(*place) for place in places]
        assert [record is None for record in left] == [True, False, False, False]

    async def test_a_deleted_record_is_gone_and_deleting_again_says_so(self, world: World) -> None:
        await world.records.put(_record(world))
        assert await world.records.delete("default", "file", "one")
        assert not await world.records.delete("default", "file", "one")
        assert await world.records.get("default", "file", "one") is None

    async def test_an_expired_record_is_absent_everywhere(self, world: World) -> None:
        first = await world.records.put(_record(world, expires_at=world.clock.now() + 10))
        world.clock.advance(10.5)
        assert await world.records.get("default", "file", "one") is None
        assert await world.records.list("default", "file") == []
        with pytest.raises(VersionConflict):
            await world.records.put(replace(first, data='{"n": "2"}'))
        again = await world.records.put(_record(world, data='{"n": "3"}'))
        assert again.version >= 1
        found = await world.records.get("default", "file", "one")
        assert found is not None
        assert found.data == '{"n": "3"}'

    async def test_expire_deletes_what_is_past_its_time_in_steps(self, world: World) -> None:
        for n in range(5):
            await world.records.put(_record(world, id=str(n), expires_at=world.clock.now() + 10))
        await world.records.put(_record(world, id="young", expires_at=world.clock.now() + 99))
        await world.records.put(_record(world, id="lasting"))
        world.clock.advance(11)
        assert [await world.records.expire(limit=3) for _ in range(3)] == [3, 2, 0]
        left = await world.records.list("default", "file")
        assert [record.id for record in left] == ["lasting", "young"]

    async def test_lists_are_pages_in_the_order_of_ids(self, world: World) -> None:
        for name in ("c", "a", "e", "b", "d"):
            await world.records.put(_record(world, id=name))
        first = await world.records.list("default", "file", limit=2)
        second = await world.records.list("default", "file", after="b", limit=9)
        assert [record.id for record in (*first, *second)] == ["a", "b", "c", "d", "e"]
        down = await world.records.list("default", "file", after="d", limit=2, is_ascending=False)
        assert [record.id for record in down] == ["c", "b"]

    async def test_lists_keep_to_tenant_and_kind(self, world: World) -> None:
        for tenant, kind in (("a", "file"), ("b", "file"), ("a", "key")):
            await world.records.put(_record(world, tenant=tenant, kind=kind))
        assert [record.tenant for record in await world.records.list("a", "file")] == ["a"]
        assert sorted(record.tenant for record in await world.records.list(None, "file")) == ["a", "b"]

    async def test_lists_match_top_level_members(self, world: World) -> None:
        data = {"1": '{"p": "batch", "s": "ok"}', "2": '{"p": "batch"}', "3": '{"q": {"p": "batch"}}', "4": '{"p": 1}'}
        for name, text in data.items():
            await world.records.put(_record(world, id=name, data=text))
        found = await world.records.list("default", "file", match={"p": "batch"})
        assert [record.id for record in found] == ["1", "2"]
        found = await world.records.list("default", "file", match={"p": "batch", "s": "ok"})
        assert [record.id for record in found] == ["1"]

    async def test_a_records_blobs_are_referred_to_while_it_exists(self, world: World) -> None:
        first = await world.records.put(_record(world, blobs=("blob_1",)))
        assert await world.jobs.orphans(["blob_1", "blob_2"]) == ["blob_2"]
        await world.records.put(replace(first, blobs=("blob_2",)))
        assert await world.jobs.orphans(["blob_1", "blob_2"]) == ["blob_1"]
        await world.records.delete("default", "file", "one")
        assert await world.jobs.orphans(["blob_2"]) == ["blob_2"]

    async def test_the_blobs_of_expired_records_are_free(self, world: World) -> None:
        await world.records.put(_record(world, blobs=("blob_1",), expires_at=world.clock.now() + 10))
        world.clock.advance(11)
        await world.records.expire()
        assert await world.jobs.orphans(["blob_1"]) == ["blob_1"]


def _record(world: World, **fields: object) -> StoredRecord:
    return replace(StoredRecord(kind="file", id="one", created_at=world.clock.now()), **fields)
