"""Rows of an answer, as JSON: decimals and dates as texts, bytes in base64, no more than may be."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from forebay.domain.data_source import MOST_RESULT_BYTES, QueryResult
from forebay.domain.errors import TargetRejected

_ENCODER = msgspec.json.Encoder(enc_hook=str)  # addresses, ranges, bit strings: as the database writes them


class RowGatherer:
    """Takes rows until there are enough."""

    def __init__(self, columns: Sequence[str], *, most_rows: int, json_columns: Iterable[int] = ()) -> None:
        """Raises: TargetRejected: two columns of one name."""
        self._columns = tuple(columns)
        twice = [name for place, name in enumerate(columns) if name in columns[:place]]
        if twice:
            raise TargetRejected(f"two columns of the result are called {twice[0]!r}: name one otherwise (AS)")
        self._most_rows = most_rows
        self._json_columns = frozenset(json_columns)
        self._rows: list[msgspec.Raw] = []
        self._bytes = 0
        self._is_truncated = False

    def take(self, rows: Iterable[Sequence[Any]]) -> bool:
        """Adds rows; False when no more are wanted."""
        for row in rows:
            if len(self._rows) >= self._most_rows or self._is_truncated:
                self._is_truncated = True
                return False
            encoded = self._encoded(row)
            self._bytes += len(encoded)
            if self._bytes > MOST_RESULT_BYTES:
                self._is_truncated = True
                return False
            self._rows.append(msgspec.Raw(encoded))
        return True

    def result(self) -> QueryResult:
        return QueryResult(columns=self._columns, rows=tuple(self._rows), is_truncated=self._is_truncated)

    def _encoded(self, row: Sequence[Any]) -> bytes:
        members = dict(zip(self._columns, row, strict=True))
        for place in self._json_columns:
            value = row[place]
            if isinstance(value, str):
                members[self._columns[place]] = msgspec.Raw(value.encode())
        return _ENCODER.encode(members)
