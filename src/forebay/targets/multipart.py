"""Multipart bodies, written as they are sent: at no time does more of a file stand in memory than one piece.

Source: RFC 7578; names and file names are escaped as browsers do (HTML, "multipart/form-data encoding algorithm").
"""

import secrets
from collections.abc import AsyncIterator
from functools import partial

from forebay.domain.form import Field, FilePart, Form
from forebay.targets.http import Upload

_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
_PLAIN_TYPE = "application/octet-stream"


def multipart_upload(form: Form) -> Upload:
    """The form as a body of known length; its pieces can be read again and again."""
    boundary = f"forebay-{secrets.token_hex(16)}"
    heads = [_head(part, boundary) for part in form]
    end = f"--{boundary}--\r\n".encode()
    size = len(end) + sum(len(head) + 2 for head in heads)
    size += sum(part.bytes for part in form if isinstance(part, FilePart))
    return Upload(
        size_bytes=size,
        content_type=f"multipart/form-data; boundary={boundary}",
        pieces=partial(_pieces, form, heads, end),
    )


def _head(part: Field | FilePart, boundary: str) -> bytes:
    """What stands before a file's bytes; of a field, with its text."""
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="{part.name.translate(_ESCAPES)}"'
    if isinstance(part, Field):
        return f"{head}\r\n\r\n{part.text}".encode()
    kind = part.content_type if part.content_type.isascii() and part.content_type.isprintable() else _PLAIN_TYPE
    return f'{head}; filename="{part.filename.translate(_ESCAPES)}"\r\ncontent-type: {kind}\r\n\r\n'.encode()


async def _pieces(form: Form, heads: list[bytes], end: bytes) -> AsyncIterator[bytes]:
    held = b""
    for part, head in zip(form, heads, strict=True):
        held += head
        if isinstance(part, FilePart):
            yield held
            async for piece in part.pieces():
                yield piece
            held = b""
        held += b"\r\n"
    yield held + end
