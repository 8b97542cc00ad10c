"""Contents of files that records refer to, for templates: ``{file.data_url}`` and ``{file.base64}``."""

import base64
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.policy.templates import compile_body

DATA_URL, BASE64 = "data_url", "base64"
LARGEST_BYTES = 32 * 1024 * 1024  # of a file within a request
REFERENCE = frozenset({"blob_id", "start", "bytes", "content_type", "filename"})


class Contents:
    """Reads what the templates name of references to ``allowed`` blobs, and nothing else of any file."""

    def __init__(self, templates: Iterable[Any], allowed: Collection[str], place: Workplace) -> None:
        paths = [path for template in templates if template is not None for path in compile_body(template).paths]
        self._wanted = {(path[0], path[1]) for path in paths if len(path) > 1 and path[1] in (DATA_URL, BASE64)}
        self._allowed = allowed
        self._place = place
        self._files: dict[str, Path] = {}

    def filled(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record, with the contents that templates name. Raises: RequestError: a file is too large."""
        filled = record
        for column, member in self._wanted:
            reference = record.get(str(column))
            if isinstance(reference, Mapping) and reference.keys() >= REFERENCE:
                text = base64.b64encode(self._read(reference)).decode()
                if member == DATA_URL:
                    text = f"data:{reference['content_type']};base64,{text}"
                filled = {**filled, str(column): {**filled[str(column)], str(member): text}}
        return filled

    def _read(self, reference: Mapping[str, Any]) -> bytes:
        size = int(reference["bytes"])
        if size > LARGEST_BYTES:
            message = f"{reference['filename']!r} has {size} bytes; a request takes {LARGEST_BYTES}"
            raise RequestError(message, code="too_large")
        blob_id = str(reference["blob_id"])
        if blob_id not in self._allowed:  # the record came with it: it may be another tenant's
            raise RequestError(f"{reference['filename']!r} is no file that this run has read", code="file_not_found")
        path = self._files.get(blob_id) or self._files.setdefault(blob_id, self._place.local(blob_id))
        with path.open("rb", buffering=0) as file:
            file.seek(int(reference["start"]))
            return file.read(size)
