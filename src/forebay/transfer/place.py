"""TransferPlace: the opened store that an archive is made of or loaded into; and that nobody works on it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from forebay.domain.errors import StoreRefused
from forebay.domain.ids import IdSource
from forebay.ports import Archive, BlobStore, JobStore

MOST_SWEEPS = 100_000


class HoldArchive(Protocol):
    """Opens the rows of the place's store; see ``ports.Archive``."""

    def __call__(self, *, is_writing: bool = False) -> AbstractAsyncContextManager[Archive]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlace:
    """``reopen_blobs`` opens the same blobs once more, with ids of another source."""

    shown: str
    jobs: JobStore
    blobs: BlobStore
    hold: HoldArchive
    reopen_blobs: Callable[[IdSource], Awaitable[BlobStore]]


async def refuse_if_worked_on(place: TransferPlace) -> None:
    """Takes back what dead workers held, as any worker would, and makes sure that none is alive.

    Raises: StoreRefused: one is.
    """
    for _ in range(MOST_SWEEPS):
        if (await place.jobs.recover()).is_complete:
            break
    workers = await place.jobs.workers()
    if workers:
        first = workers[0]
        others = f" and {len(workers) - 1} more" if len(workers) > 1 else ""
        raise StoreRefused(
            f"{place.shown} is worked on by {first.id} (pid {first.pid} on {first.host}){others}: stop every server "
            f"and worker first; one that was killed counts as dead {first.lease_seconds:.0f} s after its last heartbeat"
        )
