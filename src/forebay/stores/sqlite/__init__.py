"""The embedded store: SQLite in one file, for any number of processes of one machine."""

from forebay.stores.sqlite.archive import hold_archive
from forebay.stores.sqlite.health import examine
from forebay.stores.sqlite.opening import SqliteStore, open_store

__all__ = ["SqliteStore", "examine", "hold_archive", "open_store"]
