"""Uploads: a multipart form whose file goes to the blob store as it comes, and never stands in memory."""

from dataclasses import dataclass, field

from starlette.requests import Request

from forebay.api.files.forms import DEFAULT_TYPE, Part, boundary_of, bounded, events_of, text_of
from forebay.domain.errors import RequestError, TooLarge
from forebay.ports import BlobInfo, BlobStore

LONGEST_FIELD_BYTES = 64 * 1024
MOST_FIELDS = 100
FILE_FIELD = "file"
DEFAULT_NAME = "upload"


@dataclass(slots=True)
class Upload:
    """A form that was read: its fields, and its file as a blob that nothing refers to yet."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str = DEFAULT_NAME
    content_type: str = DEFAULT_TYPE
    blob: BlobInfo | None = None


_MISSING = "missing_required_parameter"


async def read_upload(request: Request, blobs: BlobStore, limit_bytes: int) -> Upload:
    """Reads the form; the file is durable when this returns.

    Raises: RequestError: it is no form, or has no file. TooLarge: before more than the limit was kept.
    """
    events = events_of(request, boundary_of(request))
    upload = Upload()
    async for event in events:
        if not isinstance(event, Part):
            continue
        if event.name == FILE_FIELD:
            if upload.blob is not None:
                raise RequestError("The form has two files; an upload takes one", param=FILE_FIELD)
            upload.filename = event.filename or DEFAULT_NAME
            upload.content_type = event.content_type
            upload.blob = await blobs.write(bounded(events, limit_bytes, FILE_FIELD))
        elif len(upload.fields) >= MOST_FIELDS:
            raise TooLarge(f"The form has more than {MOST_FIELDS} fields")
        else:
            upload.fields[event.name] = await text_of(events, event.name, LONGEST_FIELD_BYTES)
    if upload.blob is None:
        raise RequestError("The form has no file: send one as `file`", param=FILE_FIELD, code=_MISSING)
    return upload
