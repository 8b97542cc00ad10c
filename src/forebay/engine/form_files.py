"""The files that a body names: looked up once, as its job is made, and read when it is called.

A job refers to the blobs itself, so that a file deleted in between harms neither call nor retry.
"""

import re
from collections.abc import AsyncIterator, Mapping
from functools import partial

from msgspec.structs import replace

from forebay.domain.errors import RequestError
from forebay.domain.file import FILE, file_data
from forebay.domain.form import Field, FilePart, Form
from forebay.domain.infer_args import FormFile, infer_args
from forebay.domain.inference import Call
from forebay.domain.job import Job
from forebay.engine.services import Services
from forebay.policy.form_fields import FileRef, fields_of
from forebay.ports import BlobStore

MISSING = "file_not_found"
_NAMELESS = "file"
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}$")  # by which targets tell what is in it


async def find_files(body: str, services: Services, tenant: str) -> dict[str, FormFile]:
    """The body's files, by their ids. Raises: RequestError: there is no such file (of this tenant)."""
    found: dict[str, FormFile] = {}
    try:
        fields = fields_of(body)
    except ValueError:  # the target will say what it thinks of it
        return found
    for name, value in fields:
        if isinstance(value, FileRef) and value.file_id not in found:
            found[value.file_id] = await _file(name, value.file_id, services, tenant)
    return found


async def completed(call: Call, job: Job, services: Services) -> Call:
    """The call with what goes upstream beside its body, and with its body as a form where it came as one."""
    args = infer_args(job.spec.args)
    if args.passed is not None:
        call = replace(call, headers=args.passed.headers, query=args.passed.query)
    if args.is_form or args.files:
        files = {file_id: await _named(file_id, file, job, services) for file_id, file in args.files.items()}
        call = replace(call, form=_form(call.body, files, services.blobs))
    return call


def _form(body: bytes, files: Mapping[str, FormFile], blobs: BlobStore) -> Form:
    return tuple(_part(name, value, files, blobs) for name, value in fields_of(body))


async def _named(file_id: str, file: FormFile, job: Job, services: Services) -> FormFile:
    """The file under its own name, as long as there is one that tells it."""
    record = await services.records.get(job.tenant, FILE, file_id)
    return file if record is None else replace(file, filename=file_data(record).filename)


async def _file(name: str, file_id: str, services: Services, tenant: str) -> FormFile:
    record = await services.records.get(tenant, FILE, file_id)
    data = None if record is None else file_data(record)
    if data is None or data.blob_id is None:
        why = "is the output of a batch; send what you have read of it" if data else "does not exist"
        raise RequestError(f"{name}: the file {file_id!r} {why}", param=name, code=MISSING)
    name = f"{_NAMELESS}{extension[0] if (extension := _EXTENSION.search(data.filename)) else ''}"
    return FormFile(blob_id=data.blob_id, bytes=data.bytes, filename=name, content_type=data.content_type)


def _part(name: str, value: str | FileRef, files: Mapping[str, FormFile], blobs: BlobStore) -> Field | FilePart:
    if isinstance(value, str):
        return Field(name=name, text=value)
    file = files[value.file_id]
    return FilePart(
        name=name,
        filename=file.filename,
        content_type=file.content_type,
        bytes=file.bytes,
        pieces=partial(_read, blobs, file.blob_id),
    )


async def _read(blobs: BlobStore, blob_id: str) -> AsyncIterator[bytes]:
    async for piece in blobs.read(blob_id):
        yield piece
