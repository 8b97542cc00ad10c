"""Fetching the result of work that went on elsewhere: a file goes into a blob as it comes, all else is read whole."""

from collections.abc import Mapping

from forebay.domain.content import BlobInfo
from forebay.domain.errors import TargetFailed
from forebay.domain.inference import Call
from forebay.domain.record import Record
from forebay.targets.endpoint import media_type
from forebay.targets.http import MAX_ANSWER_BYTES, HttpClient, Response, StreamResponse

_JSON = "application/json"


class Fetched(Record, frozen=True, kw_only=True):
    """An answer; ``file`` has the body of one that is a file."""

    response: Response
    file: BlobInfo | None = None


async def fetch(http: HttpClient, url: str, headers: Mapping[str, str], call: Call) -> Fetched:
    """Asks once. Raises: a TargetError for what broke; statuses are the caller's to judge."""
    async with http.fetch(url, headers, call.timeout_seconds) as answer:
        if call.keep is not None and 200 <= answer.status < 300 and is_file(answer.headers):
            file = await call.keep(answer.chunks)
            return Fetched(response=Response(status=answer.status, headers=answer.headers, body=b""), file=file)
        body = await _whole(answer)
    return Fetched(response=Response(status=answer.status, headers=answer.headers, body=body))


def is_file(headers: Mapping[str, str]) -> bool:
    """Whether the answer says that it is something else than JSON."""
    kind = media_type(headers.get("content-type", _JSON))
    return kind != _JSON and not kind.endswith("+json")


async def _whole(answer: StreamResponse) -> bytes:
    pieces, total = [], 0
    async for piece in answer.chunks:
        total += len(piece)
        if total > MAX_ANSWER_BYTES:
            message = f"the answer is longer than {MAX_ANSWER_BYTES} bytes"
            raise TargetFailed(message, status_code=answer.status)
        pieces.append(piece)
    return b"".join(pieces)
