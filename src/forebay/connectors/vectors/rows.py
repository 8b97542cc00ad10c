"""Rows on their way into an index, in pieces, as every database takes them: texts, which it reads itself."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from forebay.domain.errors import RequestError
from forebay.domain.vectors import LEAST_DIMENSIONS, MOST_DIMENSIONS, VectorRow

PIECE_ROWS = 2000
_SHOWN = 80  # characters of an id in a message


class Piece(NamedTuple):
    """Columns of some rows; metadata and vectors as JSON."""

    ids: list[str]
    texts: list[str | None]
    metadata: list[str]
    vectors: list[str]


def pieces(rows: Iterable[VectorRow]) -> Iterator[Piece]:
    """Raises: RequestError: a row can't be written as it is."""
    source = iter(rows)
    while some := list(islice(source, PIECE_ROWS)):
        yield Piece(
            ids=[_id(row) for row in some],
            texts=[row.text for row in some],
            metadata=[_metadata(row) for row in some],
            vectors=[_vector(row) for row in some],
        )


def dimensions_of(piece: Piece) -> int:
    """How long the first vector is, and so every one must be. Raises: RequestError."""
    try:
        count = len(msgspec.json.decode(piece.vectors[0], type=list[float]))
    except msgspec.DecodeError as exc:
        raise RequestError(f"the vector of row {piece.ids[0]!r} is no array of numbers", param="vector") from exc
    if not LEAST_DIMENSIONS <= count <= MOST_DIMENSIONS:
        message = f"a vector has {LEAST_DIMENSIONS} to {MOST_DIMENSIONS} numbers, not {count} (row {piece.ids[0]!r})"
        raise RequestError(message, param="vector")
    return count


def _id(row: VectorRow) -> str:
    if not row.id or "\0" in row.id:
        raise RequestError(f"{row.id[:_SHOWN]!r} is no id of a row", param="id")
    return row.id


def _metadata(row: VectorRow) -> str:
    try:
        return msgspec.json.encode(row.metadata).decode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise RequestError(f"the metadata of row {row.id[:_SHOWN]!r} is no JSON: {exc}", param="metadata") from exc


def _vector(row: VectorRow) -> str:
    return row.vector if isinstance(row.vector, str) else msgspec.json.encode(list(row.vector)).decode()
