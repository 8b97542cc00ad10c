"""The options of a ``chunk`` step."""

from collections.abc import Mapping
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.record import Record
from forebay.policy.chunking import Unit
from forebay.policy.steps.effects import only
from forebay.policy.steps.values import choice, optional_text, whole

DEFAULT_SIZE = {Unit.CHARACTERS: 2000, Unit.SENTENCES: 10, Unit.TOKENS: 500}
ADDED = ("chunk", "chunk_start", "chunk_end")


class ChunkOptions(Record, frozen=True, kw_only=True):
    """``size`` and ``overlap`` count units."""

    column: str = "text"
    by: Unit = Unit.CHARACTERS
    size: int
    overlap: int = 0


def read_chunk(options: Mapping[str, Any]) -> ChunkOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("column", "by", "size", "overlap"))
    by = choice(options, "by", Unit, Unit.CHARACTERS) or Unit.CHARACTERS
    size = whole(options, "size", least=1) or DEFAULT_SIZE[by]
    overlap = whole(options, "overlap") or 0
    if overlap >= size:
        raise RequestError(f"must be less than the size, which is {size}", param="overlap")
    return ChunkOptions(column=optional_text(options, "column") or "text", by=by, size=size, overlap=overlap)
