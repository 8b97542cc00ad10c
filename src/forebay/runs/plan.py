"""The plan: every record of the input entered into the workbook under its identity, before anything is sent."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from forebay.domain.errors import ConfigurationError, RequestError
from forebay.domain.record import Record
from forebay.policy.requests import Renderer, RequestOptions, Shape, identity, make_renderer
from forebay.runs.inputs import Input
from forebay.runs.workbook import Entry, Workbook

RECORDS_AT_ONCE = 500
_RECORD = msgspec.json.Decoder(dict[str, Any])


class Plan(Record, frozen=True, kw_only=True):
    """What was read. ``fingerprint`` is the same for the same requests in any order."""

    records: int
    columns: tuple[str, ...]
    fingerprint: str
    shape: Shape
    renderer: Renderer | None  # None: there was no record


def make_plan(source: Input, workbook: Workbook, request: RequestOptions, *, place: str, limit: int | None) -> Plan:
    """Reads the input once. ``place`` is the target or base URL; ``request.endpoint`` must be set.

    Raises: ConfigurationError: the input can't be read, or lacks a column that the templates name.
    """
    records = source.records() if limit is None else itertools.islice(source.records(), limit)
    first = next(records, None)
    if first is None:
        columns = source.columns or ()
        if source.columns is not None:
            _check_columns(make_renderer(request, request.endpoint or "", dict.fromkeys(columns)), columns, source)
        return Plan(records=0, columns=columns, fingerprint="", shape=Shape.RECORD, renderer=None)
    renderer = make_renderer(request, request.endpoint or "", record_of(first, 0))
    if source.columns is not None:
        _check_columns(renderer, source.columns, source)
    reading = _Reading(workbook, renderer, place, request.schema)
    reading.read(itertools.chain([first], records))
    _check_columns(renderer, tuple(reading.columns), source)
    workbook.index()
    return Plan(
        records=reading.count,
        columns=tuple(reading.columns),
        fingerprint=f"{reading.count}-{reading.sum:032x}",
        shape=renderer.shape,
        renderer=renderer,
    )


class _Reading:
    """The pass over the records."""

    def __init__(self, workbook: Workbook, renderer: Renderer, place: str, schema: Any) -> None:
        self.count = 0
        self.sum = 0
        self.columns: dict[str, None] = {}
        self._workbook = workbook
        self._renderer = renderer
        self._place = place
        self._schema = schema

    def read(self, records: Iterator[bytes]) -> None:
        while chunk := list(itertools.islice(records, RECORDS_AT_ONCE)):
            entries: list[Entry] = []
            refused: list[tuple[int, bytes]] = []
            for text in chunk:
                record = record_of(text, self.count)
                self.columns.update(dict.fromkeys(record))
                key = ""
                try:
                    key = self._key(record)
                except RequestError as exc:
                    refused.append((self.count, failure(exc.code, exc.message)))
                entries.append(Entry(number=self.count, key=key, record=text))
                self.count += 1
            self._workbook.add(entries)
            self._workbook.refuse(refused)

    def _key(self, record: Mapping[str, Any]) -> str:
        known = identity(self._renderer.render(record), self._place, self._schema)
        self.sum = (self.sum + int.from_bytes(known)) % (1 << 128)
        occurrence = self._workbook.occurrence(known)
        return f"{known.hex()}-{occurrence}" if occurrence else known.hex()


def record_of(text: bytes, number: int) -> dict[str, Any]:
    """Decodes a record. Raises: ConfigurationError: it has a number such as 1e400."""
    try:
        return _RECORD.decode(text)
    except msgspec.DecodeError as exc:  # it was read as JSON before
        raise ConfigurationError(f"Record {number} has a number beyond all that a program holds: {exc}") from exc


def failure(code: str | None, message: str, status_code: int | None = None, attempts: int = 0) -> bytes:
    """What the error file says of a record, beside its number and input."""
    error = {"code": code or "error", "message": message}
    return msgspec.json.encode({"error": error, "status_code": status_code, "attempts": attempts})


def _check_columns(renderer: Renderer, columns: tuple[str, ...], source: Input) -> None:
    missing = sorted(renderer.fields - set(columns))
    if missing == ["file"] and source.path is None and columns and columns[0] == "path":
        raise ConfigurationError(
            f"{{file}}: this version sends no binary files; {source.name} has {{path}} and {{text}}"
        )
    if missing:
        known = ", ".join(columns) or "none"
        raise ConfigurationError(f"No record of {source.name} has the column {missing[0]!r}; there are: {known}")
