"""Vector index: rows with an embedding each, found again by nearness. Its layout is one, whatever database keeps it:

a table with the columns ``id`` (text, unique), ``text`` (text or null), ``metadata`` (a JSON object) and ``embedding``
(as many floats in every row), whose comment is the JSON of an ``IndexFacts``. In DuckDB the file has it as
``documents``, and ``embedding`` is ``FLOAT[n]``; in PostgreSQL it is ``vector(n)`` where the extension pgvector is,
else ``real[]``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forebay.domain.record import Record

LAYOUT = 1
DOCUMENTS = "documents"  # the table, where nobody names another
LEAST_DIMENSIONS, MOST_DIMENSIONS = 1, 16_000  # as pgvector has it
MOST_MATCHES = 1000


class VectorRow(Record, frozen=True, kw_only=True):
    """One row to be written. ``vector``: numbers, or the JSON text of their array, which is not parsed here."""

    id: str
    vector: Sequence[float] | str
    text: str | None = None
    metadata: Mapping[str, Any] = {}


class VectorMatch(Record, frozen=True, kw_only=True):
    """A row that was found. ``score``: the cosine of the angle, 1 for the same direction, -1 for the opposite one."""

    id: str
    score: float
    text: str | None
    metadata: msgspec.Raw


class IndexFacts(Record, frozen=True, kw_only=True):
    """What an index says of itself. ``model``: that made the embeddings, where it was told."""

    layout: int = LAYOUT
    dimensions: int
    rows: int
    model: str | None = None
    created_at: float = 0.0


_FACTS = msgspec.json.Decoder(IndexFacts)


def index_facts(comment: str | None) -> IndexFacts | None:
    """Reads a table's comment; None if it is no index's, or one of a later layout."""
    try:
        facts = _FACTS.decode(comment or "")
    except msgspec.DecodeError:
        return None
    return facts if facts.layout == LAYOUT else None
