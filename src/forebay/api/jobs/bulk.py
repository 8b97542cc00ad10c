"""``POST /v1/jobs/bulk``: NDJSON in and out. A bad line refuses only itself; all good ones are durable at the reply."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from forebay.api.admission import known_job, made
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import ErrorBody, error_body, problem_of
from forebay.api.idempotency import REPLAYED, Identity, check_same, fingerprint_of, scoped_key
from forebay.api.jobs.requests import order_of, parse_request
from forebay.api.lines import lines_of
from forebay.domain.errors import ForebayError, Overloaded, StoreUnavailable, TooLarge, TooMany
from forebay.domain.hops import HOPS_HEADER, read_hops
from forebay.domain.job import Job, Status

NDJSON = "application/x-ndjson"
CHUNK_LINES = 500  # committed together
CHUNK_BYTES = 4 * 1024 * 1024
REPLY_MEMORY_BYTES = 1024 * 1024  # beyond it the replies wait in a temporary file
REPLY_PIECE_BYTES = 64 * 1024


class Accepted(msgspec.Struct, kw_only=True):
    """The reply to a good line."""

    index: int
    id: str
    status: Status


class Refused(msgspec.Struct, kw_only=True):
    """The reply to a bad one."""

    index: int
    error: ErrorBody


async def submit_bulk(request: Request) -> Response:
    """Reads lines as they come and commits them in chunks, so that neither side holds them all."""
    submission = Submission(request)
    try:
        await submission.take(request.stream())
    except BaseException:
        submission.abandon()
        raise
    headers = REPLAYED if submission.is_all_replayed else {}
    return _Replies(submission, headers)


class _Replies(StreamingResponse):
    """The replies, whose file is closed even where the client went away before the first of them."""

    def __init__(self, submission: "Submission", headers: dict[str, str]) -> None:
        super().__init__(submission.written(), media_type=NDJSON, headers=headers)
        self._file = submission.replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


class Submission:
    """One bulk request on its way: the lines not yet committed, and the replies to all before them."""

    def __init__(self, request: Request) -> None:
        self._api: Api = api_of(request)
        self._caller: Caller = caller_of(request)
        self._path: str = request.scope["path"]
        self._key = request.headers.get("idempotency-key")
        self._hops = read_hops(request.headers.get(HOPS_HEADER))
        self._longest_bytes: int = self._api.system.settings.max_body_bytes
        self.replies: IO[bytes] = tempfile.SpooledTemporaryFile(REPLY_MEMORY_BYTES)  # noqa: SIM115 - closed by `_Replies`
        self._chunk: list[Job | Accepted | Refused] = []
        self._chunk_bytes = 0
        self._count = 0
        self._accepted = 0
        self._replayed = 0
        self._held_bytes = 0

    @property
    def is_all_replayed(self) -> bool:
        return self._replayed > 0 and self._replayed == self._count

    async def take(self, pieces: AsyncIterator[bytes]) -> None:
        """Commits every good line. Raises: StoreUnavailable, Overloaded: nothing at all was accepted."""
        if self._key is not None:
            scoped_key(self._path, self._key)
        try:
            await self._take(pieces, self._api.system.settings.max_batch_lines)
        except Overloaded as overloaded:
            if not self._accepted and not self._replayed:
                raise
            self._chunk.append(_refused(self._count, overloaded))
            self._count += 1
        await self._commit()

    async def _take(self, pieces: AsyncIterator[bytes], most: int) -> None:
        async for line in lines_of(self._counted(pieces), self._longest_bytes):
            if self._count >= most:
                message = f"More than {most} lines (setting `max_batch_lines`); from here on none was read"
                self._chunk.append(_refused(self._count, TooLarge(message, code="too_many_lines")))
                self._count += 1
                break
            self._chunk.append(await self._job(self._count, line))
            self._count += 1
            self._chunk_bytes += len(line or b"")
            if len(self._chunk) >= CHUNK_LINES or self._chunk_bytes >= CHUNK_BYTES:
                await self._commit()

    async def _counted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same, with what is held of them until it is committed. Raises: Overloaded."""
        async for piece in pieces:
            self._api.room.take(len(piece))
            self._held_bytes += len(piece)
            yield piece

    def abandon(self) -> None:
        """Drops what was not committed."""
        self._give_back()
        self.replies.close()
        self._api.quotas.give_back(self._caller.tenant, sum(isinstance(item, Job) for item in self._chunk))

    def _give_back(self) -> None:
        self._api.room.give_back(self._held_bytes)
        self._held_bytes = 0

    def written(self) -> Iterator[bytes]:
        """The replies, in the order of the lines."""
        with self.replies as replies:
            replies.seek(0)
            while piece := replies.read(REPLY_PIECE_BYTES):
                yield piece

    async def _job(self, index: int, line: bytes | None) -> Job | Accepted | Refused:
        try:
            if line is None:
                raise TooLarge(f"The line is longer than {self._longest_bytes} bytes", code="request_too_large")
            request = parse_request(line)
            identity = self._identity(index, line, request.idempotency_key)
            order = order_of(request, identity, self._api.services.clock.now(), hops=self._hops)
            try:
                return await made(order, self._api, self._caller)
            except TooMany:
                known = await known_job(identity, self._api, self._caller) if identity.key else None
                if known is None:
                    raise
                self._replayed += 1
                return Accepted(index=index, id=known.id, status=known.status)
        except ForebayError as error:
            return _refused(index, error)

    def _identity(self, index: int, line: bytes, own_key: str | None) -> Identity:
        """A line's own key, else its place under the request's key."""
        if own_key is not None:
            return Identity(key=scoped_key(self._path, own_key), fingerprint=fingerprint_of(line))
        if self._key is not None:
            return Identity(key=f"{self._path}:{self._key}#{index}", fingerprint=fingerprint_of(line))
        return Identity()

    async def _commit(self) -> None:
        self._give_back()
        if not self._chunk:
            return
        first = self._count - len(self._chunk)
        chunk, self._chunk, self._chunk_bytes = self._chunk, [], 0
        jobs = [item for item in chunk if isinstance(item, Job)]
        replies: list[Accepted | Refused] = []
        try:
            added = iter(await self._api.quotas.add(jobs) if jobs else [])
        except StoreUnavailable as unavailable:
            if not self._accepted:
                raise
            replies = [_refused(first + place, unavailable) for place in range(len(chunk))]
        else:
            for place, item in enumerate(chunk):
                if not isinstance(item, Job):
                    replies.append(item)
                    continue
                reply = next(added)
                try:
                    if not reply.is_new:
                        check_same(reply.fingerprint, item.fingerprint)
                        self._replayed += 1
                except ForebayError as error:
                    replies.append(_refused(first + place, error))
                    continue
                self._accepted += 1
                replies.append(Accepted(index=first + place, id=reply.id, status=reply.status))
        self.replies.write(msgspec.json.Encoder().encode_lines(replies))


def _refused(index: int, error: ForebayError) -> Refused:
    return Refused(index=index, error=error_body(problem_of(error)))
