"""The key ring: what it knows holds for seconds, in every process, and nobody is let in by a part of a key."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.api.keys.records import KeyOrder, create_key, revoke_key
from forebay.api.keys.ring import ANYONE, FRESH_SECONDS, GRACE_SECONDS, KeyRing, presented_key
from forebay.domain.errors import StoreUnavailable, Unauthorized
from forebay.domain.key import KEY, ApiKey, Scope, hash_of
from forebay.domain.stored import StoredRecord
from forebay.engine.services import Services
from forebay.ports import RecordStore
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services

ORDER = KeyOrder(tenant="shop", scopes=(Scope.READ,))


class Watch:
    """The seconds that have passed."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Records:
    """The records of a store that may be away, and how often they were read."""

    def __init__(self, records: RecordStore) -> None:
        self._records = records
        self.reads = 0
        self.is_away = False
        self.is_full = False

    async def get(self, tenant: str, kind: str, record_id: str) -> StoredRecord | None:
        self._ask()
        return await self._records.get(tenant, kind, record_id)

    async def list(self, *arguments: Any, **options: Any) -> list[StoredRecord]:
        self._ask()
        return await self._records.list(*arguments, **options)

    async def put(self, record: StoredRecord) -> StoredRecord:
        if self.is_full:
            raise StoreUnavailable("full")
        return await self._records.put(record)

    def _ask(self) -> None:
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("away")


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_services(tmp_path, [], clock=FakeClock()) as opened:
        yield opened


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def records(services: Services) -> Records:
    return Records(services.records)


def ring_of(services: Services, records: Records, watch: Watch, *, is_open: bool = True) -> KeyRing:
    return KeyRing(cast("Any", records), services.clock, is_open=is_open, monotonic=watch)


async def made(services: Services) -> tuple[ApiKey, str]:
    return await create_key(ORDER, services.records, services.ids, services.clock.now())


async def test_a_caller_is_read_once_and_known_then(services: Services, records: Records, watch: Watch) -> None:
    key, text = await made(services)
    ring = ring_of(services, records, watch)
    caller = await ring.authenticate(text)
    assert (caller.tenant, caller.scopes, caller.key_id) == ("shop", frozenset({Scope.READ}), key.id)
    reads = records.reads
    for _ in range(10):
        assert ring.known(text) is caller
        assert await ring.authenticate(text) is caller
    assert records.reads == reads


async def test_a_revoked_key_ends_within_seconds_in_a_process_that_used_it(
    services: Services, records: Records, watch: Watch
) -> None:
    key, text = await made(services)
    ring = ring_of(services, records, watch)
    await ring.authenticate(text)
    await revoke_key(key.id, None, services.records, services.clock.now())
    watch.seconds += FRESH_SECONDS
    assert ring.known(text) is None
    with pytest.raises(Unauthorized):
        await ring.authenticate(text)
    with pytest.raises(Unauthorized):
        await ring.authenticate(text)


async def test_an_open_ring_closes_within_seconds_of_the_first_key(
    services: Services, records: Records, watch: Watch
) -> None:
    ring = ring_of(services, records, watch)
    assert await ring.authenticate(None) == ANYONE
    assert ring.known("anything") == ANYONE
    _, text = await made(services)
    watch.seconds += FRESH_SECONDS
    with pytest.raises(Unauthorized):
        await ring.authenticate(None)
    assert (await ring.authenticate(text)).tenant == "shop"


async def test_a_ring_that_closed_never_opens_again(services: Services, records: Records, watch: Watch) -> None:
    key, _ = await made(services)
    await revoke_key(key.id, None, services.records, services.clock.now())
    for ring in (ring_of(services, records, watch), ring_of(services, records, watch, is_open=False)):
        with pytest.raises(Unauthorized):
            await ring.authenticate(None)


async def test_a_ring_that_strangers_reach_is_never_open(services: Services, records: Records, watch: Watch) -> None:
    ring = ring_of(services, records, watch, is_open=False)
    assert ring.known(None) is None
    with pytest.raises(Unauthorized):
        await ring.authenticate("anything")


async def test_while_one_request_asks_again_the_others_go_on(
    services: Services, records: Records, watch: Watch
) -> None:
    _, text = await made(services)
    ring = ring_of(services, records, watch)
    await ring.authenticate(text)
    watch.seconds += FRESH_SECONDS
    asking = ring.authenticate(text)
    asking.send(None)  # it waits for the store
    assert ring.known(text) is not None
    watch.seconds += GRACE_SECONDS
    assert ring.known(text) is None
    asking.close()


async def test_a_store_that_is_away_lets_nobody_in_anew(services: Services, records: Records, watch: Watch) -> None:
    _, text = await made(services)
    ring = ring_of(services, records, watch)
    records.is_away = True
    with pytest.raises(StoreUnavailable):
        await ring.authenticate(text)


async def test_a_full_store_lets_callers_read_although_their_last_use_is_not_noted(
    services: Services, records: Records, watch: Watch
) -> None:
    _, text = await made(services)
    records.is_full = True
    assert (await ring_of(services, records, watch).authenticate(text)).tenant == "shop"


async def test_every_other_text_is_refused(services: Services, records: Records, watch: Watch) -> None:
    _, text = await made(services)
    _, other = await made(services)
    ring = ring_of(services, records, watch)
    swapped = "_".join([*text.split("_")[:2], other.split("_")[2]])
    for wrong in (
        "",
        "fb_",
        text[:-1],
        text + "a",
        " " + text,
        text.upper(),
        swapped,
        "\udc80",
        "é" * 73,
        "0" * 100_000,
    ):
        with pytest.raises(Unauthorized):
            await ring.authenticate(wrong)


def test_a_key_is_a_key_and_its_hash_is_none() -> None:
    assert not KEY.fullmatch(hash_of("fb_x"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({b"authorization": b"Bearer fb_x"}, "fb_x"),
        ({b"authorization": b"bearer  fb_x "}, "fb_x"),
        ({b"x-api-key": b"fb_y"}, "fb_y"),
        ({b"authorization": b"Bearer fb_x", b"x-api-key": b"fb_y"}, "fb_x"),
        ({b"authorization": b"Basic abc", b"x-api-key": b"fb_y"}, "fb_y"),
        ({b"authorization": b"Bearer"}, None),
    ],
)
def test_a_key_comes_as_a_bearers_token_or_in_its_own_header(headers: dict[bytes, bytes], expected: str | None) -> None:
    assert presented_key(headers) == expected


@given(st.binary(), st.binary())
def test_no_header_is_too_odd_to_read(authorization: bytes, named: bytes) -> None:
    presented_key({b"authorization": authorization, b"x-api-key": named})
