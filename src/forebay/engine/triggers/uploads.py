"""Uploads: files of the API that a run is given as parameters, by their ids: ``{"params": {"input": "file-…"}}``."""

import re
from collections.abc import Mapping
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.file import FILE, file_data
from forebay.domain.ids import ALPHABET
from forebay.domain.pipeline import Upload
from forebay.engine.services import Services

_FILE_ID = re.compile(rf"file-[{ALPHABET}]{{26}}")


async def uploads_of(params: Mapping[str, Any], services: Services, tenant: str) -> dict[str, Upload]:
    """The files that parameters name. Raises: RequestError: there is no such file of this tenant."""
    found: dict[str, Upload] = {}
    for name, value in params.items():
        if isinstance(value, str) and _FILE_ID.fullmatch(value):
            found[value] = await _upload(name, value, services, tenant)
    return found


async def _upload(name: str, file_id: str, services: Services, tenant: str) -> Upload:
    record = await services.records.get(tenant, FILE, file_id)
    data = None if record is None else file_data(record)
    if data is None or data.blob_id is None:
        why = "is the output of a batch" if data else "does not exist"
        raise RequestError(f"params.{name}: the file {file_id!r} {why}", param=f"params.{name}", code="file_not_found")
    return Upload(filename=data.filename, bytes=data.bytes, blob_id=data.blob_id)
