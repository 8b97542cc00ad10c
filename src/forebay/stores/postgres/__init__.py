"""The shared store: PostgreSQL 14 or later, for any number of processes on any number of machines."""

from forebay.stores.postgres.archive import hold_archive
from forebay.stores.postgres.checking import check
from forebay.stores.postgres.health import Findings, examine
from forebay.stores.postgres.migrating import Layout, State, migrate, read_layout, refuse_unless_current
from forebay.stores.postgres.opening import PostgresStore, open_store
from forebay.stores.postgres.place import Place, read_place

__all__ = [
    "Findings",
    "Layout",
    "Place",
    "PostgresStore",
    "State",
    "check",
    "examine",
    "hold_archive",
    "migrate",
    "open_store",
    "read_layout",
    "read_place",
    "refuse_unless_current",
]
