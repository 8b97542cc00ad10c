"""Opens a store whose layout is this program's, and refuses every other."""

from collections.abc import Sequence

from forebay.domain.change import Worker
from forebay.domain.errors import StoreRefused
from forebay.domain.ids import IdSource
from forebay.policy.vigil import Vigil
from forebay.ports import Clock
from forebay.processes import IsGone
from forebay.stores.postgres.backend import Backend
from forebay.stores.postgres.calls import Order
from forebay.stores.postgres.jobs import PostgresJobs
from forebay.stores.postgres.limits import PostgresLimits
from forebay.stores.postgres.migrating import read_layout, refuse_unless_current
from forebay.stores.postgres.place import Place, read_place
from forebay.stores.postgres.records import PostgresRecords
from forebay.stores.postgres.transaction import Tx

_BLOB_STORE = "blob_store"


class PostgresStore:
    """The three ports on one database, and its closing."""

    def __init__(self, backend: Backend, is_gone: IsGone, vigil: Vigil | None = None) -> None:
        self.jobs = PostgresJobs(backend, is_gone, vigil=vigil)
        self.records = PostgresRecords(backend)
        self.limits = PostgresLimits(backend)
        self.backend = backend

    async def bind_blobs(self, store_id: str) -> None:
        """Keeps the blob store's id for ever. Raises: StoreRefused: another one is recorded."""
        recorded = await self.backend.write(Order.BARRIER, _bind, store_id)
        if recorded != store_id:
            raise StoreRefused(
                f"this store's blobs are kept in the blob store {recorded!r}, and `blobs:` names {store_id!r}: "
                "point `blobs:` at the place this store was first opened with"
            )

    async def close(self) -> None:
        """Commits what is queued and closes the connections."""
        await self.backend.close()


def never_gone(worker: Worker) -> bool:
    """On several machines neither a host's name nor a pid proves anything: the heartbeat alone tells who is dead."""
    return worker.pid < 0


async def open_store(
    url: str | Place,
    *,
    clock: Clock | None = None,
    ids: IdSource | None = None,
    is_gone: IsGone = never_gone,
    vigil: Vigil | None = None,
) -> PostgresStore:
    """Opens the store. ``clock`` None: times in lease and due decisions are the database's.

    Raises: StoreRefused: it was not migrated, is of a newer Forebay or another program's. StoreUnavailable.
    """
    place = url if isinstance(url, Place) else read_place(url)
    refuse_unless_current(place, await read_layout(place))
    source = ids or (IdSource(clock.now) if clock else IdSource())
    return PostgresStore(Backend(place, clock, source), is_gone, vigil)


async def _bind(tx: Tx, store_ids: Sequence[str]) -> Sequence[str]:
    for store_id in store_ids:
        await tx.run("meta.put", _BLOB_STORE, store_id)
    return [(await tx.run("meta.get", _BLOB_STORE))[0][0]] * len(store_ids)
