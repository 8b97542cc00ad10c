"""The files that a body names: looked up once, as its job is made, and read when it is called.

A job refers to the blobs itself, so that a file deleted in between harms neither call nor retry.
"""

from collections.abc import AsyncIterator
from functools import partial

from msgspec.structs import replace

from forebay.domain.errors import RequestError
from forebay.domain.file import FILE, file_data
from forebay.domain.form import Field, FilePart, Form
from forebay.domain.infer_args import FormFile, InferArgs
from forebay.domain.inference import Call
from forebay.engine.services import Services
from forebay.policy.form_fields import FileRef, fields_of
from forebay.ports import BlobStore

MISSING = "file_not_found"


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


def completed(call: Call, args: InferArgs, blobs: BlobStore) -> Call:
    """The call with what goes upstream beside its body, and with its body as a form where it came as one."""
    if args.passed is not None:
        call = replace(call, headers=args.passed.headers, query=args.passed.query)
    if args.is_form or args.files:
        call = replace(call, form=_form(call.body, args, blobs))
    return call


def _form(body: bytes, args: InferArgs, blobs: BlobStore) -> Form:
    return tuple(_part(name, value, args, blobs) for name, value in fields_of(body))


async def _file(name: str, file_id: str, services: Services, tenant: str) -> FormFile:
    record = await services.records.get(tenant, FILE, file_id)
    data = None if record is None else file_data(record)
    if data is None or data.blob_id is None:
        why = "is the output of a batch; send what you have read of it" if data else "does not exist"
        raise RequestError(f"{name}: the file {file_id!r} {why}", param=name, code=MISSING)
    return FormFile(blob_id=data.blob_id, bytes=data.bytes, filename=data.filename, content_type=data.content_type)


def _part(name: str, value: str | FileRef, args: InferArgs, blobs: BlobStore) -> Field | FilePart:
    if isinstance(value, str):
        return Field(name=name, text=value)
    file = args.files[value.file_id]
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
