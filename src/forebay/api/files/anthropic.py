"""Files in Anthropic's shape, for requests with an ``anthropic-version`` header. Source: the SDK's ``FileMetadata``."""

import msgspec
from starlette.requests import Request

from forebay.api.context import api_of, caller_of
from forebay.api.jobs.listing import read_limit
from forebay.api.paging import Span, page_of
from forebay.api.times import rfc3339
from forebay.domain.errors import RequestError
from forebay.domain.file import FILE, file_data
from forebay.domain.stored import StoredRecord

MOST_LISTED = 1000
MOST_IDS = 100
PAGE = "page_"  # what a cursor begins with; the id of the last file of the page before follows
SHORTEST_EXPIRY_SECONDS, LONGEST_EXPIRY_SECONDS = 3_600, 7_776_000


class FileMetadata(msgspec.Struct, kw_only=True):
    """A file."""

    id: str
    type: str = "file"
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    expires_at: str | None
    downloadable: bool = True


class FilePage(Span[FileMetadata], kw_only=True):
    """A page of files; ``next_page`` for today's SDKs, the ends for those that page by ids."""

    next_page: str | None = None  # always sent


class FileDeleted(msgspec.Struct, kw_only=True):
    """The reply to a deleted file."""

    id: str
    type: str = "file_deleted"


def metadata_of(record: StoredRecord) -> FileMetadata:
    """The file as Anthropic's clients read it."""
    data = file_data(record)
    return FileMetadata(
        id=record.id,
        filename=data.filename,
        mime_type=data.content_type,
        size_bytes=data.bytes,
        created_at=rfc3339(record.created_at),
        expires_at=None if record.expires_at is None else rfc3339(record.expires_at),
    )


async def page(request: Request) -> FilePage:
    """Newest first. Raises: RequestError."""
    params, records, tenant = request.query_params, api_of(request).services.records, caller_of(request).tenant
    if ids := params.getlist("ids[]"):
        if len(ids) > MOST_IDS:
            raise RequestError(f"ids: at most {MOST_IDS}, not {len(ids)}", param="ids")
        named = [await records.get(tenant, FILE, file_id) for file_id in dict.fromkeys(ids)]
        return _page([record for record in named if record is not None], len(named))
    limit = read_limit(params.get("limit"), highest=MOST_LISTED)
    before = params.get("before_id")
    found = await records.list(
        tenant, FILE, after=before or _after(params.get("page")) or params.get("after_id"), limit=limit + 1,
        is_ascending=before is not None,
    )  # fmt: skip
    shown = _page(found, limit)
    if before is not None:
        shown.data.reverse()
        shown.first_id, shown.last_id, shown.next_page = shown.last_id, shown.first_id, None
    return shown


def expiry_seconds(text: str | None) -> int | None:
    """Reads ``expires_in_seconds``. Raises: RequestError."""
    if text is None:
        return None
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < len("10000000000") else 0
    if not SHORTEST_EXPIRY_SECONDS <= seconds <= LONGEST_EXPIRY_SECONDS:
        bounds = f"{SHORTEST_EXPIRY_SECONDS} to {LONGEST_EXPIRY_SECONDS}"
        raise RequestError(f"expires_in_seconds: it must be {bounds}, not {text!r}", param="expires_in_seconds")
    return seconds


def _page(records: list[StoredRecord], limit: int) -> FilePage:
    shown = page_of(FilePage, [metadata_of(record) for record in records[:limit]], has_more=len(records) > limit)
    if shown.has_more:
        shown.next_page = f"{PAGE}{shown.last_id}"
    return shown


def _after(cursor: str | None) -> str | None:
    if cursor is not None and not cursor.startswith(PAGE):
        raise RequestError(f"page: {cursor!r} is no cursor of a page before", param="page")
    return cursor.removeprefix(PAGE) if cursor else None
