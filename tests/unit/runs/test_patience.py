"""A run waits while its store is away, and goes on where it was."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from forebay.domain.errors import StoreDamaged, StoreUnavailable
from forebay.runs import patience
from forebay.runs.backend import BatchState, Lines, Piece, RunOrder, Stream
from forebay.runs.local import LocalBatches
from forebay.runs.patience import Patience, PatientBackend, Stopped
from forebay.runs.progress import Silence

STATE = BatchState(id="job_1", requests="", is_live=True)
ORDER = RunOrder(key="run:1", metadata={}, endpoint="/v1/chat/completions")


class Sayings(Silence):
    """A Reporter that keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


class Coming(LocalBatches):
    """Some verbs of a Backend, on a store that is away as often as told, each time in the middle of what it does."""

    def __init__(self, times: int, error: type[StoreUnavailable] = StoreUnavailable) -> None:
        self._times = times
        self._error = error
        self.created: list[list[bytes]] = []

    def _fail(self) -> None:
        if self._times:
            self._times -= 1
            raise self._error("the store is away")

    async def state(self, batch_id: str) -> BatchState:
        del batch_id
        self._fail()
        return STATE

    async def create(self, order: RunOrder, lines: Lines) -> str:
        self.created.append([line async for line in lines()])
        self._fail()
        return order.key

    async def lines(self, batch_id: str, stream: Stream, after: int) -> AsyncIterator[Piece]:
        del batch_id, stream
        for number in range(after, 4):
            yield Piece(cursor=number + 1, lines=[b"%d" % number])
            self._fail()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.0)


def patient(store: Coming, reporter: Silence, stop: asyncio.Event | None = None) -> PatientBackend:
    return PatientBackend(store, Patience(reporter, stop or asyncio.Event()))


async def test_a_verb_is_repeated_until_the_store_is_back_and_the_wait_is_told_once_each_time() -> None:
    told = Sayings()
    backend = patient(Coming(3), told)
    assert await backend.state("job_1") is STATE
    assert told.said == ["the store is away; waiting for it"]


async def test_a_batch_is_made_of_all_lines_however_often_it_is_tried() -> None:
    async def lines() -> AsyncIterator[bytes]:
        for text in (b"a", b"b"):
            yield text

    store = Coming(1)
    assert await patient(store, Silence()).create(ORDER, lines) == "run:1"
    assert store.created == [[b"a", b"b"]] * 2


async def test_what_was_read_is_not_read_again() -> None:
    read = [piece.lines async for piece in patient(Coming(2), Silence()).lines("job_1", Stream.OUTPUT, 0)]
    assert read == [[b"0"], [b"1"], [b"2"], [b"3"]]


async def test_a_run_that_is_asked_to_stop_waits_no_longer() -> None:
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(Stopped):
        await patient(Coming(1), Silence(), stop).state("job_1")


async def test_a_damaged_store_is_not_waited_for() -> None:
    with pytest.raises(StoreDamaged):
        await patient(Coming(1, StoreDamaged), Silence()).state("job_1")
