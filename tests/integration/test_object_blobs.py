"""Blobs in S3 pass the suite of every blob store, and hold what is particular to objects."""

import asyncio
import threading
from collections.abc import AsyncIterator
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import moto.core.authorization
import pytest
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeBucket, S3Backend

from forebay.blobs.objects import PART_BYTES, READ_BYTES, SLOW_SECONDS, ObjectBlobs, open_object_blobs
from forebay.domain.errors import ConfigurationError, NotFound, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.ports import Clock
from forebay.testing.clock import FakeClock
from forebay.testing.conformance.blobs import UNKNOWN, BlobStoreSuite, BlobWorld, pieces
from tests.integration.s3_house import BUCKET, drop_bucket, empty_bucket, set_clock

PATIENCE_SECONDS = 120.0
MANY_PARTS = bytes(range(256)) * (3 * PART_BYTES // 256) + b"and a rest"


async def opened(clock: Clock, *, bucket: str = BUCKET, prefix: str = "a/b") -> ObjectBlobs:
    return await open_object_blobs(bucket, prefix, clock=clock, ids=IdSource(clock.now))


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketWorld(BlobWorld):
    bucket: FakeBucket

    def names(self, folder: str) -> list[str]:
        return [name for name in self.bucket.keys if name.startswith(f"a/b/{folder}/")]


@pytest.fixture
async def blobs(monkeypatch: pytest.MonkeyPatch) -> BucketWorld:
    clock = FakeClock()
    bucket = empty_bucket(monkeypatch)
    set_clock(monkeypatch, clock)
    return BucketWorld(clock=clock, store=await opened(clock), open_again=opened, bucket=bucket)


class TestObjectBlobs(BlobStoreSuite):
    async def test_a_blob_of_many_parts_is_read_whole_and_by_ranges_over_their_edges(self, blobs: BucketWorld) -> None:
        info = await blobs.store.write(pieces(MANY_PARTS))
        assert await blobs.read(info.id) == MANY_PARTS
        for edge in (READ_BYTES, PART_BYTES, 2 * PART_BYTES):
            for start, end in ((edge - 1, edge + 1), (edge, edge + READ_BYTES), (edge - 3, edge + READ_BYTES + 3)):
                assert await blobs.read(info.id, start, end) == MANY_PARTS[start:end]
        assert not blobs.bucket.multiparts

    async def test_parts_are_sent_while_the_sender_still_sends_and_deleted_when_it_fails(
        self, blobs: BucketWorld
    ) -> None:
        under_way = []

        async def broken() -> AsyncIterator[bytes]:
            async for piece in pieces(MANY_PARTS, 1024 * 1024):
                yield piece
            under_way.extend(blobs.bucket.multiparts)
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await blobs.store.write(broken())
        assert len(under_way) == 1
        assert not blobs.bucket.multiparts
        assert not blobs.names("blobs")

    async def test_a_cancelled_write_leaves_no_part(self, blobs: BucketWorld) -> None:
        sent = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            async for piece in pieces(MANY_PARTS, 1024 * 1024):
                yield piece
            sent.set()
            await asyncio.Event().wait()

        writing = asyncio.create_task(blobs.store.write(endless()))
        await sent.wait()
        assert blobs.bucket.multiparts
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert not blobs.bucket.multiparts
        assert not blobs.names("blobs")

    @pytest.mark.parametrize("verb", ["create_multipart_upload", "complete_multipart_upload"])
    async def test_a_write_cancelled_as_its_upload_begins_or_ends_leaves_nothing(
        self, blobs: BucketWorld, monkeypatch: pytest.MonkeyPatch, verb: str
    ) -> None:
        loop, begun, may_answer = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        work = getattr(S3Backend, verb)

        def work_and_wait(*args: Any, **named: Any) -> Any:
            done = work(*args, **named)
            loop.call_soon_threadsafe(begun.set)
            may_answer.wait(PATIENCE_SECONDS)
            return done

        monkeypatch.setattr(S3Backend, verb, work_and_wait)
        writing = asyncio.create_task(blobs.store.write(pieces(MANY_PARTS)))
        await begun.wait()
        writing.cancel()
        loop.call_later(0.05, may_answer.set)
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert not blobs.bucket.multiparts
        assert not blobs.names("blobs")

    async def test_a_blob_that_s3_does_not_put_together_is_unavailable_and_leaves_no_part(
        self, blobs: BucketWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def refuse(*args: Any, **named: Any) -> None:
            asked.append(args)
            raise S3ClientError("InternalError", "We encountered an internal error")

        monkeypatch.setattr(S3Backend, "complete_multipart_upload", refuse)
        with pytest.raises(
            StoreUnavailable, match=r": 400 Bad Request, InternalError \(We encountered an internal error\)$"
        ):
            await blobs.store.write(pieces(MANY_PARTS))
        assert asked
        assert not blobs.bucket.multiparts
        assert not blobs.names("blobs")

    async def test_a_blob_that_was_sent_for_hours_is_young(self, blobs: BucketWorld) -> None:
        began = blobs.clock.now()

        async def slow() -> AsyncIterator[bytes]:
            yield b"slow"
            blobs.clock.advance(2 * 3600.0)

        info = await blobs.store.write(slow())
        [name] = blobs.names("blobs")
        blobs.bucket.keys[name].last_modified = datetime.fromtimestamp(began, UTC).replace(tzinfo=None)  # as S3 does
        assert [one async for one in blobs.store.older_than(blobs.clock.now() - 3600)] == []
        blobs.clock.advance(3601)
        assert [one async for one in blobs.store.older_than(blobs.clock.now() - 3600)] == [info.id]
        await blobs.store.delete([info.id])
        assert list(blobs.bucket.keys) == ["a/b/store-id"]

    async def test_only_slow_writes_cost_a_second_object(self, blobs: BucketWorld) -> None:
        async def sent_in(seconds: float) -> AsyncIterator[bytes]:
            yield b"x"
            blobs.clock.advance(seconds)

        await blobs.store.write(sent_in(SLOW_SECONDS))
        assert not blobs.names("slow")
        await blobs.store.write(sent_in(SLOW_SECONDS + 1))
        assert len(blobs.names("slow")) == 1

    async def test_more_blobs_than_one_request_takes_are_listed_and_deleted(self, blobs: BucketWorld) -> None:
        await blobs.write(b"x")
        [name] = blobs.names("blobs")
        one = blobs.bucket.keys[name]
        for number in range(1100):
            blob_id = f"blob_{number:026}"
            another = copy(one)
            another.name = f"a/b/blobs/{blob_id[-2:]}/{blob_id}"
            blobs.bucket.keys[another.name] = another
        blobs.clock.advance(10)
        old = [blob_id async for blob_id in blobs.store.older_than(blobs.clock.now())]
        assert len(set(old)) == len(old) == 1101
        await blobs.store.delete(old)
        assert not blobs.names("blobs")

    async def test_an_id_that_could_be_a_path_is_no_blob(self, blobs: BucketWorld) -> None:
        for name in ("../store-id", "store-id", "", "blob_" + "0" * 25 + "/"):
            with pytest.raises(NotFound):
                await blobs.store.size(name)
            await blobs.store.delete([name])
        assert list(blobs.bucket.keys) == ["a/b/store-id"]

    async def test_processes_that_open_a_new_prefix_together_agree_on_its_id(self, blobs: BucketWorld) -> None:
        together = await asyncio.gather(*(opened(blobs.clock, prefix="") for _ in range(8)))
        assert len({one.store_id for one in together}) == 1
        assert together[0].store_id != blobs.store.store_id

    async def test_a_bucket_that_is_gone_is_no_missing_blob(self, blobs: BucketWorld) -> None:
        blob_id = await blobs.write(b"x")
        await blobs.store.delete([blob_id])
        with pytest.raises(NotFound):
            await blobs.store.size(blob_id)
        drop_bucket()
        for asked in (blobs.store.size(blob_id), blobs.read(blob_id), blobs.write(b"y"), listed(blobs)):
            with pytest.raises(StoreUnavailable, match=r"NoSuchBucket|404"):
                await asked

    async def test_an_s3_that_can_not_be_reached_is_unavailable(
        self, blobs: BucketWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        with pytest.raises(StoreUnavailable, match=r"^`blobs: s3://forebay-tests/a/b` can't be reached now: [^\n]*$"):
            await opened(blobs.clock)

    async def test_a_bucket_that_does_not_exist_is_told_in_a_sentence(self, blobs: BucketWorld) -> None:
        with pytest.raises(ConfigurationError, match=r"^There is no bucket 'nowhere' for `blobs: s3://nowhere/x`"):
            await opened(blobs.clock, bucket="nowhere", prefix="x")

    async def test_wrong_credentials_are_told_in_a_sentence_without_them(
        self, blobs: BucketWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(moto.core.authorization.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
        with pytest.raises(
            ConfigurationError, match=r"may not be used with the credentials[^\n]*403 Forbidden, InvalidAccessKeyId \("
        ) as told:
            await opened(blobs.clock, prefix="other")
        assert "AKIAEXAMPLE" not in str(told.value)

    async def test_missing_credentials_are_told_in_a_sentence(
        self, blobs: BucketWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
        with pytest.raises(ConfigurationError, match=r"^There are no credentials for `blobs: s3://forebay-tests/a/b`"):
            await opened(blobs.clock)


async def listed(blobs: BlobWorld) -> list[str]:
    return [blob_id async for blob_id in blobs.store.older_than(blobs.clock.now())]


async def test_a_blob_that_is_not_there_is_not_found_by_any_range(blobs: BucketWorld) -> None:
    for start, end in ((0, 0), (0, 5), (READ_BYTES, None)):
        with pytest.raises(NotFound):
            await blobs.read(UNKNOWN, start, end)
