"""Forms as they are sent: of the length that is told, and read by others as they were meant."""

import asyncio
from collections.abc import AsyncIterator
from email.parser import BytesParser
from email.policy import HTTP
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.form import Field, FilePart, Form
from forebay.targets.http import Upload
from forebay.targets.multipart import multipart_upload

WORDS = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1).filter(
    lambda text: not set(text) & set('"\\%;')
)
PIECES = st.lists(st.binary(max_size=40), max_size=4)


async def read(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def file_part(name: str, filename: str, content_type: str, pieces: list[bytes]) -> FilePart:
    size = sum(map(len, pieces))
    return FilePart(name=name, filename=filename, content_type=content_type, bytes=size, pieces=partial(read, pieces))


def sent(upload: Upload) -> bytes:
    async def gathered() -> bytes:
        return b"".join([piece async for piece in upload.pieces()])

    return asyncio.run(gathered())


FIELDS = st.builds(lambda name, text: Field(name=name, text=text), WORDS, st.text())
FILES = st.builds(file_part, WORDS, st.text(), st.text(), PIECES)


@given(st.lists(FIELDS | FILES, max_size=5).map(tuple))
def test_the_length_is_what_is_sent_each_time(form: Form) -> None:
    upload = multipart_upload(form)
    assert len(sent(upload)) == upload.size_bytes == len(sent(upload))


@given(st.lists(st.builds(file_part, WORDS, WORDS, st.just("audio/wav"), PIECES), min_size=1, max_size=4))
def test_another_parser_reads_the_parts(files: list[FilePart]) -> None:
    upload = multipart_upload(tuple(files))
    head = f"content-type: {upload.content_type}\r\n\r\n".encode()
    parts = list(BytesParser(policy=HTTP).parsebytes(head + sent(upload)).iter_parts())  # type: ignore[attr-defined]
    assert [part.get_content_type() for part in parts] == ["audio/wav"] * len(files)
    assert [part.get_filename() for part in parts] == [file.filename for file in files]
    assert [part.get_payload(decode=True) for part in parts] == [sent_of(file) for file in files]


def sent_of(file: FilePart) -> bytes:
    return sent(Upload(size_bytes=file.bytes, content_type="", pieces=file.pieces))


def test_a_name_cannot_leave_its_place() -> None:
    evil = 'a"; filename="b"\r\nx-evil: 1\r\n\r\n'
    body = sent(multipart_upload((Field(name=evil, text="t"), file_part("f", evil, 'a/b"\r\nx-evil: 1', [b"d"]))))
    assert b"\r\nx-evil" not in body
    assert body.count(b"\r\n\r\n") == 2
