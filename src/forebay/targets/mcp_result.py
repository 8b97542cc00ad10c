"""What a tool gave, as a job's result: JSON, with the bytes in it as files of their own."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import msgspec
from mcp.types import CallToolResult

from forebay.domain.errors import TargetFailed
from forebay.domain.inference import ResultFile
from forebay.targets.attached import attached

_BYTES = {"image": "data", "audio": "data"}
_RESOURCE = "blob"  # of an embedded resource
_DEFAULT_TYPE = "application/octet-stream"


def written(result: CallToolResult, *, is_kept: bool = True) -> tuple[bytes, tuple[ResultFile, ...]]:
    """The result's JSON, in the protocol's names, and its files; of what is not kept the bytes are left out.

    Raises: TargetFailed: bytes that are no base64.
    """
    whole = result.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"result_type", "meta"})
    files: list[ResultFile] = []
    for block in _blocks(whole):
        name = _BYTES.get(block.get("type", ""), _RESOURCE)
        if not isinstance(block.get(name), str):
            continue
        media_type = block.get("mimeType") or _DEFAULT_TYPE
        text = block.pop(name)
        if not is_kept:
            continue
        try:
            content = base64.b64decode(text, validate=True)
        except binascii.Error as exc:
            raise TargetFailed(f"the tool gave {block.get('type', 'a resource')} that is no base64") from exc
        block["file"], file = attached(content, media_type)
        files.append(file)
    return msgspec.json.encode(whole), tuple(files)


def words_of(result: CallToolResult) -> str:
    """The texts of a result, in one line."""
    texts = [block.text for block in result.content if block.type == "text"]
    return " ".join(" ".join(texts).split())


def _blocks(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The blocks of content, and the resources embedded in them."""
    for block in whole.get("content", []):
        yield block
        if isinstance(resource := block.get("resource"), dict):
            yield resource
