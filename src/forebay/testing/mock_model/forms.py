"""Multipart forms as the mock model reads them: their fields as JSON, and of each file its name, size and checksum."""

import re
import zlib
from typing import Any

import msgspec

_NAME = re.compile(rb'name="([^"]*)"')
_FILENAME = re.compile(rb'filename="([^"]*)"')
_NUMBERS = frozenset({"n"})


def as_json(body: bytes) -> bytes:
    """The body as JSON; one that is no form stays as it is."""
    if not body.startswith(b"--"):
        return body
    boundary = body.partition(b"\r\n")[0]
    members: dict[str, Any] = {}
    for part in body.split(b"\r\n" + boundary):
        head, _, data = part.removeprefix(boundary).partition(b"\r\n\r\n")
        if found := _NAME.search(head):
            name = found[1].decode(errors="replace")
            _add(members, name, _value(name, _FILENAME.search(head), data))
    return msgspec.json.encode(members)


def heard(body: bytes) -> str:
    """What the mock makes of a recording: which one it was."""
    file = msgspec.json.decode(body).get("file")
    if not isinstance(file, dict) or "bytes" not in file:
        return "heard nothing"
    return f"heard {file['filename']}: {file['bytes']} bytes, crc32 {file['crc32']:08x}"


def _value(name: str, filename: re.Match[bytes] | None, data: bytes) -> Any:
    if filename is not None:
        return {"filename": filename[1].decode(errors="replace"), "bytes": len(data), "crc32": zlib.crc32(data)}
    text = data.decode(errors="replace")
    return int(text) if name in _NUMBERS and text.isdecimal() else text


def _add(members: dict[str, Any], name: str, value: Any) -> None:
    if name.endswith("[]"):
        members.setdefault(name, []).append(value)
    else:
        members[name] = value
