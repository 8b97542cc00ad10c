"""Multipart uploads: the same form in any pieces, forms damaged byte by byte, and what is missing or too much."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from forebay.api.files.uploads import LONGEST_FIELD_BYTES, MOST_FIELDS, Upload, read_upload
from forebay.domain.errors import RequestError
from forebay.ports import BlobInfo, BlobStore
from tests.fuzz.strategies import cut, damaged, fuzz

LIMIT_BYTES = 2000
BOUNDARY = "x-boundary-x"


@dataclass
class Shelf:
    """Keeps what is written, and the most that one piece had."""

    kept: list[bytes] = field(default_factory=list)

    async def write(self, chunks: AsyncIterator[bytes]) -> BlobInfo:
        data = b"".join([chunk async for chunk in chunks])
        self.kept.append(data)
        return BlobInfo(id=f"blob_{len(self.kept)}", bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def request(pieces: Sequence[bytes], content_type: str) -> Request:
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    left = iter(messages)

    async def receive() -> Any:
        return next(left)

    headers = [(b"content-type", content_type.encode("latin-1"))]
    return Request({"type": "http", "method": "POST", "path": "/v1/files", "headers": headers}, receive)


async def read(pieces: Sequence[bytes], content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> Any:
    """What came of it: fields, name, type and bytes, or the refusal's status and code."""
    shelf = Shelf()
    refused: RequestError | None = None
    upload = Upload()
    try:
        upload = await read_upload(request(pieces, content_type), cast("BlobStore", shelf), LIMIT_BYTES)
    except RequestError as refusal:
        refused = refusal
    if refused is not None:
        assert refused.message
        return refused.status_code, refused.code, refused.param
    assert shelf.kept
    assert upload.blob is not None
    assert upload.blob.sha256 == hashlib.sha256(shelf.kept[-1]).hexdigest()
    return upload.fields, upload.filename, upload.content_type, shelf.kept[-1]


def part(name: str, value: bytes, *, filename: str | None = None, content_type: str | None = None) -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n"
    head += f"Content-Type: {content_type}\r\n" if content_type else ""
    return head.encode() + b"\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


FILE_BYTES = st.binary(max_size=200) | st.sampled_from(
    [b"", b"\r\n", b"--x-boundary", f"\r\n--{BOUNDARY[:-1]}".encode(), b"\r\n--", b"\r" * 9, b"\0" * 50]
)
NAMES = st.sampled_from(["purpose", "expires_after[anchor]", "idempotency_key", "x", "ä", ""])
FORMS = st.builds(
    lambda before, data, after, filename: form(*before, part("file", data, filename=filename), *after),
    *[
        st.lists(st.builds(part, NAMES, st.text(max_size=10).map(str.encode)), max_size=3),
        FILE_BYTES,
        st.lists(st.builds(part, NAMES, st.text(max_size=10).map(str.encode)), max_size=3),
        st.sampled_from(["a.jsonl", "", "ä b.txt", "../../etc/passwd", "C:\\a.txt", None]),
    ],
)


@fuzz(80)
@given(st.data(), FORMS | damaged(FORMS))
async def test_a_form_says_the_same_in_whatever_pieces_it_comes(data: st.DataObject, body: bytes) -> None:
    whole = await read([body])
    assert await read(data.draw(cut(body))) == whole
    assert await read([body[place : place + 3] for place in range(0, len(body), 3)]) == whole


@fuzz(60)
@given(FILE_BYTES, st.permutations([("purpose", b"batch"), ("x", b"1"), ("file", b"")]))
async def test_fields_and_file_are_read_in_any_order(data: bytes, order: list[tuple[str, bytes]]) -> None:
    parts = [part(name, data, filename="a.jsonl") if name == "file" else part(name, value) for name, value in order]
    fields, filename, content_type, kept = await read([form(*parts)])
    assert fields == {"purpose": "batch", "x": "1"}
    assert (filename, content_type, kept) == ("a.jsonl", "application/octet-stream", data)


@fuzz(200)
@given(damaged(FORMS, most=8), st.text(st.characters(max_codepoint=0xFF), max_size=30) | st.none())
@example(form(), None)
@example(b"", None)
@example(form(part("purpose", b"\xff"), part("file", b"x", filename="x")), None)
@example(form(part("file", b"x", filename="x")), "multipart/form-data; boundary=")
@example(form(part("file", b"x", filename="x")), "multipart/form-data; boundary=" + "x" * 500)
@example(form(part("file", b"x", filename="x")), "multipart/form-data; boundary=\"\x85\"; boundary*=utf-8''%ff")
async def test_a_damaged_form_is_read_or_refused_with_400_or_413(body: bytes, content_type: str | None) -> None:
    outcome = await read([body]) if content_type is None else await read([body], content_type)
    if isinstance(outcome[0], int):
        assert outcome[0] in {400, 413}
    else:
        assert len(outcome[3]) <= LIMIT_BYTES


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (form(part("purpose", b"batch")), (400, "missing_required_parameter", "file")),
        (form(part("file", b"x" * (LIMIT_BYTES + 1), filename="x")), (413, "too_large", "file")),
        (form(part("x", b"x" * (LONGEST_FIELD_BYTES + 1))), (413, "too_large", "x")),
        (form(part("file", b"x", filename="x"))[:-6], (400, "invalid_multipart", None)),
    ],
)
async def test_what_is_missing_or_too_much_is_named(body: bytes, expected: tuple[Any, ...]) -> None:
    assert await read([body]) == expected


async def test_a_form_of_very_many_fields_is_refused_before_they_are_held() -> None:
    many = [part(f"f{number}", b"x") for number in range(MOST_FIELDS + 1)]
    assert await read([form(*many, part("file", b"x", filename="x"))]) == (413, "too_large", None)


async def test_a_second_file_is_refused() -> None:
    file = part("file", b"x", filename="x")
    assert await read([form(file, file)]) == (400, "invalid_value", "file")


async def test_a_head_of_a_part_is_bounded() -> None:
    endless = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{"x" * 100_000}"\r\n\r\n'.encode()
    status, _, _ = await read([endless[place : place + 1000] for place in range(0, len(endless), 1000)])
    assert status in {400, 413}
