"""OpenAI's ``/v1/files``: upload, list, read, delete, content; Anthropic's shapes for those who ask in its way."""

import hashlib

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON, is_anthropic
from forebay.api.files import anthropic as anthropic_files
from forebay.api.files.content import content_of, content_response
from forebay.api.files.uploads import Upload, read_upload
from forebay.api.idempotency import REPEAT_SECONDS, REPLAYED, Identity, check_same, identify
from forebay.api.jobs.listing import read_limit
from forebay.api.paging import Page, page_response
from forebay.domain.errors import NotFound, RequestError, VersionConflict
from forebay.domain.file import FILE, FileData, encoded, file_data
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord
from forebay.engine.erasure import drop
from forebay.engine.handlers.batch import put_file

USER_DATA = "user_data"
PURPOSES = ("batch", USER_DATA, "assistants", "fine-tune", "vision", "evals")
MOST_LISTED = 10_000  # and the default. Source: OpenAI's API reference
SHORTEST_EXPIRY_SECONDS, LONGEST_EXPIRY_SECONDS = 3_600, 2_592_000  # Source: wire.md
KEY_SECONDS = 86_400.0
_KEY, _REPEAT = "file_key", "file_repeat"  # records: by idempotency key, by what an SDK's repeat is found by


class FileView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """OpenAI's FileObject."""

    id: str
    object: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str
    expires_at: int | None = None


class FileList(Page[FileView], kw_only=True):
    """A page of files."""


class FileDeleted(msgspec.Struct, kw_only=True):
    """The reply to a deleted file."""

    id: str
    object: str = "file"
    deleted: bool = True


class _Known(Record, frozen=True, kw_only=True):
    """What is kept of an upload so that its repeat is answered alike."""

    fingerprint: str
    view: msgspec.Raw


async def upload(request: Request) -> Response:
    """POST /v1/files."""
    api, caller = api_of(request), caller_of(request)
    form = await read_upload(request, api.services.blobs, api.services.bounds.max_batch_bytes)
    purpose = _purpose(form, request)
    lifespan = _lifespan(form, request)
    identity = identify(request, _identity_body(form), body_key=form.fields.get("idempotency_key"))
    known = await _known(identity, api, caller)
    if known is not None:
        return Response(bytes(known.view), media_type=JSON, headers=REPLAYED)
    now = api.services.clock.now()
    expires_at = None if lifespan is None else now + lifespan
    data = FileData(
        filename=form.filename,
        purpose=purpose,
        content_type=form.content_type,
        key_id=_digest(identity.key) if identity.key else None,
    )
    assert form.blob is not None, "read_upload returns no form without its file"  # noqa: S101 - for the type checker
    record = await put_file(form.blob, data, api.services, tenant=caller.tenant, expires_at=expires_at)
    view = _encoded(record, request)
    first = await _remember(identity, record, view, api, caller)
    if first is not None:  # an equal upload came at the same moment and was first: there is one file
        await api.services.records.delete(caller.tenant, FILE, record.id)
        return Response(bytes(first.view), media_type=JSON, headers=REPLAYED)
    return Response(view, media_type=JSON)


async def listed(request: Request) -> Response:
    """GET /v1/files."""
    if is_anthropic(request):
        return Response(msgspec.json.encode(await anthropic_files.page(request)), media_type=JSON)
    api, caller = api_of(request), caller_of(request)
    params = request.query_params
    limit = read_limit(params.get("limit"), default=MOST_LISTED, highest=MOST_LISTED)
    order = params.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise RequestError(f"order: it must be asc or desc, not {order!r}", param="order")
    purpose = params.get("purpose")
    records = await api.services.records.list(
        caller.tenant,
        FILE,
        after=params.get("after"),
        limit=limit + 1,
        is_ascending=order == "asc",
        match={"purpose": purpose} if purpose else None,
    )
    return page_response(FileList, [view_of(record) for record in records[:limit]], has_more=len(records) > limit)


async def read(request: Request) -> Response:
    """GET /v1/files/{id}; the size of a batch's file is what is there now."""
    api, caller = api_of(request), caller_of(request)
    record = await load_file(request.path_params["id"], api, caller)
    data = file_data(record)
    if data.job_id is not None and not data.bytes:
        segments = await api.services.jobs.segments(data.job_id, data.stream or "")
        size = sum(segment.bytes for segment in segments)
        record = replace(record, data=encoded(replace(data, bytes=size)))
    return Response(_encoded(record, request), media_type=JSON)


async def delete(request: Request) -> Response:
    """DELETE /v1/files/{id}: batches made of it keep their input; a batch's own output stays until the batch goes."""
    api, caller = api_of(request), caller_of(request)
    record = await load_file(request.path_params["id"], api, caller)
    if not await api.services.records.delete(caller.tenant, FILE, record.id):
        raise no_file(record.id)
    await _forget(record, api, caller)
    await drop(record.blobs, api.services)
    deleted = anthropic_files.FileDeleted(id=record.id) if is_anthropic(request) else FileDeleted(id=record.id)
    return Response(msgspec.json.encode(deleted), media_type=JSON)


async def content(request: Request) -> Response:
    """GET /v1/files/{id}/content."""
    api, caller = api_of(request), caller_of(request)
    data = file_data(await load_file(request.path_params["id"], api, caller))
    found = await content_of(data, api, caller.tenant)
    return await content_response(request, data, found, api.services.blobs)


async def load_file(file_id: str, api: Api, caller: Caller) -> StoredRecord:
    """Raises: NotFound."""
    record = await api.services.records.get(caller.tenant, FILE, file_id)
    if record is None:
        raise no_file(file_id)
    return record


def no_file(file_id: str) -> NotFound:
    """The refusal of an id that names no file (of this tenant)."""
    return NotFound(f"No such File object: {file_id}", param="id")


def view_of(record: StoredRecord) -> FileView:
    """The file as OpenAI's clients read it."""
    data = file_data(record)
    return FileView(
        id=record.id,
        object="file",
        bytes=data.bytes,
        created_at=int(record.created_at),
        filename=data.filename,
        purpose=data.purpose,
        status="processed",
        expires_at=None if record.expires_at is None else int(record.expires_at),
    )


def _encoded(record: StoredRecord, request: Request) -> bytes:
    """The file's JSON, in the shape that this client understands."""
    return msgspec.json.encode(anthropic_files.metadata_of(record) if is_anthropic(request) else view_of(record))


def _purpose(form: Upload, request: Request) -> str:
    purpose = form.fields.get("purpose")
    if not purpose:
        if is_anthropic(request):
            return USER_DATA  # Anthropic's files have none
        raise RequestError("'purpose' is required", param="purpose", code="missing_required_parameter")
    if purpose not in PURPOSES:
        raise RequestError(f"purpose: {purpose!r} is none of {', '.join(PURPOSES)}", param="purpose")
    return purpose


def _lifespan(form: Upload, request: Request) -> int | None:
    if is_anthropic(request):
        return anthropic_files.expiry_seconds(form.fields.get("expires_in_seconds"))
    anchor, seconds = form.fields.get("expires_after[anchor]"), form.fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise RequestError("expires_after[anchor]: it must be 'created_at'", param="expires_after[anchor]")
    return expiry_seconds(seconds, "expires_after[seconds]")


def expiry_seconds(value: str | int | None, param: str) -> int:
    """Raises: RequestError: no number, or out of OpenAI's bounds."""
    try:
        seconds = int(str(value)[:20])
    except ValueError:
        seconds = 0
    if not SHORTEST_EXPIRY_SECONDS <= seconds <= LONGEST_EXPIRY_SECONDS:
        message = f"{param}: it must be {SHORTEST_EXPIRY_SECONDS} to {LONGEST_EXPIRY_SECONDS}, not {value!r}"
        raise RequestError(message, param=param)
    return seconds


def _identity_body(form: Upload) -> bytes:
    """An upload is compared by its bytes and fields."""
    fields = {name: value for name, value in form.fields.items() if name != "idempotency_key"}
    sha256 = form.blob.sha256 if form.blob else ""
    return msgspec.json.encode([sha256, form.filename, form.content_type, sorted(fields.items())])


async def _known(identity: Identity, api: Api, caller: Caller) -> _Known | None:
    """The reply to an equal upload before. Raises: Conflict."""
    records = api.services.records
    if identity.is_repeat and (record := await records.get(caller.tenant, _REPEAT, identity.origin)):
        return msgspec.json.decode(record.data, type=_Known)
    if identity.key and (record := await records.get(caller.tenant, _KEY, _digest(identity.key))):
        known = msgspec.json.decode(record.data, type=_Known)
        check_same(known.fingerprint, identity.fingerprint)
        return known
    return None


async def _remember(identity: Identity, file: StoredRecord, view: bytes, api: Api, caller: Caller) -> _Known | None:
    """Keeps the reply under its key. Returns the reply of an equal upload that was first, if so. Raises: Conflict."""
    now = api.services.clock.now()
    mine = _Known(fingerprint=identity.fingerprint, view=msgspec.Raw(view))
    data = msgspec.json.encode(mine).decode()
    record = StoredRecord(kind=_KEY, id="", tenant=caller.tenant, data=data, created_at=now)
    if identity.key:
        until = None if file.expires_at is None else max(now + KEY_SECONDS, file.expires_at)
        try:
            await api.services.records.put(replace(record, id=_digest(identity.key), expires_at=until))
        except VersionConflict:
            try:
                return await _known(replace(identity, is_repeat=False), api, caller)
            except RequestError:
                await api.services.records.delete(caller.tenant, FILE, file.id)
                raise
    if identity.origin:
        repeat = replace(record, kind=_REPEAT, id=identity.origin, expires_at=now + REPEAT_SECONDS)
        held = await api.services.records.get(caller.tenant, _REPEAT, identity.origin)
        try:
            await api.services.records.put(replace(repeat, version=held.version if held else 0))
        except VersionConflict:
            return None  # an equal upload at the same moment, which is another one: it is no repeat
    return None


async def _forget(file: StoredRecord, api: Api, caller: Caller) -> None:
    """A key is kept for 24 hours, or as long as its file."""
    key_id = file_data(file).key_id
    if key_id is None:
        return
    record = await api.services.records.get(caller.tenant, _KEY, key_id)
    if record is not None:
        until = max(record.created_at + KEY_SECONDS, api.services.clock.now() + 1)
        await api.services.records.put(replace(record, expires_at=until))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


ROUTES = [
    Route("/v1/files", upload, methods=["POST"]),
    Route("/v1/files", listed, methods=["GET"]),
    Route("/v1/files/{id}", read, methods=["GET"]),
    Route("/v1/files/{id}", delete, methods=["DELETE"]),
    Route("/v1/files/{id}/content", content, methods=["GET"]),
]
