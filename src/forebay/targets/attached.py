"""Files within an answer that is JSON: the bytes go beside it, and a mark stands where the file's id will."""

import secrets
from typing import Any

from forebay.domain.inference import ResultFile

_MARK_BYTES = 16  # no answer has it by chance, nor by design


def attached(content: bytes, media_type: str, filename: str = "") -> tuple[dict[str, Any], ResultFile]:
    """What stands in the answer for the bytes, and the file that they become when the answer is kept."""
    mark = f"file-{secrets.token_hex(_MARK_BYTES)}"
    shown = {"object": "file", "file_id": mark, "content_type": media_type, "bytes": len(content)}
    return shown, ResultFile(mark=mark, content=content, content_type=media_type, filename=filename)
