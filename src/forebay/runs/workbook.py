"""Workbook: what a run knows of each record, in a temporary file, so that memory stays flat.

The file has no name (SQLite unlinks it at once): it ends with the process, however that ends. What must last is in the
store.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from forebay.domain.record import Record

ROWS_AT_ONCE = 500
CACHE_KIB = 65_536
_SCHEMA = """
CREATE TABLE records (number INTEGER PRIMARY KEY, key TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE occurrences (identity BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE results (number INTEGER PRIMARY KEY, is_success INTEGER NOT NULL, is_reused INTEGER NOT NULL,
                      payload BLOB NOT NULL);
"""


class Entry(Record, frozen=True, kw_only=True):
    """One record of the input. ``key`` is its identity and occurrence; '' where it can't be asked at all."""

    number: int
    key: str
    record: bytes


class Outcome(Record, frozen=True, kw_only=True):
    """What became of a record: the payload is what the output, or the error file, adds to the record."""

    key: str
    is_success: bool
    payload: bytes


class Row(Record, frozen=True, kw_only=True):
    """A record with its result."""

    number: int
    record: bytes
    payload: bytes


class Workbook:
    """``with`` opens it. One thread at a time."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[bool, bool]] = Counter()

    def __enter__(self) -> Self:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE_KIB}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(_SCHEMA)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def occurrence(self, identity: bytes) -> int:
        """Counts an identity: 0 when it comes for the first time, then 1, 2, …"""
        upsert = "INSERT INTO occurrences VALUES (?, 0) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times"
        return int(self._database.execute(upsert, (identity,)).fetchone()[0])

    def add(self, entries: Sequence[Entry]) -> None:
        """Enters records."""
        self._write("INSERT INTO records VALUES (?, ?, ?)", [(one.number, one.key, one.record) for one in entries])

    def index(self) -> None:
        """Call once, after the last record: keys can be looked up from here on."""
        self._database.execute("CREATE INDEX by_key ON records (key)")

    def refuse(self, failures: Sequence[tuple[int, bytes]]) -> None:
        """Enters failures of records that are never sent."""
        self._write("INSERT INTO results VALUES (?, 0, 0, ?)", failures)
        self._counts[False, False] += len(failures)

    def enter(self, outcomes: Iterable[Outcome], *, is_reused: bool) -> list[Row]:
        """Enters results by key; returns the new successes. A success stands; it replaces a failure, nothing else
        does. Keys of other requests are passed over.
        """
        rows: list[Row] = []
        self._database.execute("BEGIN")
        for outcome in outcomes:
            found = self._database.execute(_FIND, (outcome.key,)).fetchone()
            if found is None:
                continue
            number, record, was_success, was_reused = found
            if was_success is not None:
                if was_success or not outcome.is_success:
                    continue
                self._counts[False, bool(was_reused)] -= 1
            self._counts[outcome.is_success, is_reused] += 1
            self._database.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)",
                (number, outcome.is_success, is_reused, outcome.payload),
            )
            if outcome.is_success:
                rows.append(Row(number=number, record=record, payload=outcome.payload))
        self._database.execute("COMMIT")
        return rows

    def forget_failures(self) -> None:
        """Makes reused failures pending again (``--retry-failed``)."""
        self._database.execute("DELETE FROM results WHERE is_success = 0 AND is_reused = 1")
        self._counts[False, True] = 0

    def pending(self) -> Iterator[Entry]:
        """Records without a result, in the order of the input."""
        cursor = self._database.execute(
            "SELECT number, key, record FROM records WHERE NOT EXISTS"
            " (SELECT 1 FROM results WHERE results.number = records.number) ORDER BY number"
        )
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            for number, key, record in rows:
                yield Entry(number=number, key=key, record=record)

    def rows(self, *, is_success: bool) -> Iterator[Row]:
        """Records with their results, in the order of the input."""
        cursor = self._database.execute(
            "SELECT number, record, payload FROM results JOIN records USING (number) WHERE is_success = ?"
            " ORDER BY number",
            (is_success,),
        )
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            for number, record, payload in rows:
                yield Row(number=number, record=record, payload=payload)

    def count(self, *, is_success: bool | None = None, is_reused: bool | None = None) -> int:
        """Counts results; None: of either kind."""
        return sum(
            number
            for (success, reused), number in self._counts.items()
            if is_success in (None, success) and is_reused in (None, reused)
        )

    def _write(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, rows)
        self._database.execute("COMMIT")


_FIND = """
SELECT records.number, records.record, results.is_success, results.is_reused
FROM records LEFT JOIN results USING (number)
WHERE key = ?
"""
