"""The bytes in what an agent answered: files beside the answer, which names them."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import msgspec

from forebay.domain.inference import ResultFile
from forebay.targets.attached import attached

_RAW = "raw"  # ProtoJSON's bytes: base64, in either alphabet, with or without its padding
_DEFAULT_TYPE = "application/octet-stream"
_URL_SAFE = str.maketrans("-_", "+/")


def with_files(body: bytes) -> tuple[bytes, tuple[ResultFile, ...]]:
    """A task or a message, with ``file`` in the place of each part's ``raw``. One without bytes stays as it is written.

    Raises: ValueError: bytes that are no base64.
    """
    if b'"raw"' not in body:
        return body, ()
    whole = msgspec.json.decode(body)
    files: list[ResultFile] = []
    for part in _parts(whole):
        if not isinstance(part.get(_RAW), str):
            continue
        shown, file = attached(
            _decoded(part.pop(_RAW)), part.get("mediaType") or _DEFAULT_TYPE, part.get("filename") or ""
        )
        part["file"] = shown
        files.append(file)
    return (msgspec.json.encode(whole), tuple(files)) if files else (body, ())


def _decoded(text: str) -> bytes:
    text = text.translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as exc:
        raise ValueError("a part's raw is no base64") from exc


def _parts(whole: Any) -> Iterator[dict[str, Any]]:
    """Every part of a task's artifacts, status and history, or of a message."""
    if not isinstance(whole, dict):
        return
    status = whole.get("status")
    holders = [whole, *_list(whole, "artifacts"), *_list(whole, "history")]
    if isinstance(status, dict):
        holders.append(status.get("message"))
    for holder in holders:
        if isinstance(holder, dict):
            yield from (part for part in _list(holder, "parts") if isinstance(part, dict))


def _list(holder: dict[str, Any], name: str) -> list[Any]:
    found = holder.get(name)
    return found if isinstance(found, list) else []
