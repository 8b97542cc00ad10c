"""Blobs as objects of an S3 bucket, for any number of machines. ``app.open_storage`` opens it where ``blobs:`` says so.

Layout under the prefix: ``store-id``; ``blobs/<last two characters of the id>/<id>``; ``slow/<id>`` (see ``_SLOW``).
The bucket should abort incomplete multipart uploads by a lifecycle rule: a killed process can't abort its own.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from forebay.blobs.gathering import gathered
from forebay.blobs.names import is_blob_id, place_of
from forebay.domain.errors import ConfigurationError, NotFound, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.ports import BlobInfo, Clock

PART_BYTES = 8 * 1024 * 1024  # S3 takes 10,000 parts: 80 GB
PARTS_AT_ONCE = 3
READ_BYTES = 4 * 1024 * 1024  # one request each: a reader that pauses for an hour keeps no connection waiting
SLOW_SECONDS = 300.0
_RETRIES = 4
_RETRY_SECONDS = timedelta(seconds=15)

_STORE_ID = "store-id"
_BLOBS = "blobs"
_SLOW = "slow"  # S3 dates an object of parts by its beginning: this one beside it tells that it is younger
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REASON = re.compile(r"<Code>(?P<code>[^<]*)</Code>\s*<Message>(?P<message>[^<]*)</Message>")
_ROLE_PATHS = ("/latest/api/token", "/latest/meta-data")  # where a machine is asked for its role, without any keys
_MISPLACED = "incorrectly configured region"  # the library's words for a bucket's redirect to another region


async def open_object_blobs(bucket: str, prefix: str, *, clock: Clock, ids: IdSource) -> "ObjectBlobs":
    """Opens the bucket's prefix, and gives it its id if it is new. Credentials are those of the AWS environment.

    Raises: ConfigurationError: there is no such bucket, or we may not use it; StoreUnavailable.
    """
    shown = f"s3://{bucket}/{prefix}".rstrip("/")
    try:
        objects = _reach(bucket, prefix)
        store_id = await _bind(objects, ids.new("blobs"))
    except (BaseError, OSError, ValueError) as exc:
        raise _refusal(exc, bucket, f"`blobs: {shown}`") from exc
    return ObjectBlobs(objects, store_id, clock=clock, ids=ids)


class ObjectBlobs:
    """See BlobStore. A blob is there when its last request was answered: S3 shows no half of one."""

    def __init__(self, objects: S3Store, store_id: str, *, clock: Clock, ids: IdSource) -> None:
        self._objects = objects
        self._store_id = store_id
        self._clock = clock
        self._ids = ids

    @property
    def store_id(self) -> str:
        return self._store_id

    async def write(self, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """See BlobStore. Holds at most a few parts. Raises: StoreUnavailable: nothing was kept."""
        blob_id = self._ids.new("blob")
        began = self._clock.now()
        digest, size = hashlib.sha256(), 0
        writer = obstore.open_writer_async(
            self._objects, _path(blob_id), buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
        )
        try:
            async for piece in gathered(chunks):
                digest.update(piece)
                size += len(piece)
                with _unavailable("A blob can't be written now"):
                    await asyncio.shield(writer.write(piece))  # under cancellation ``_abort`` waits for it
        except BaseException as exc:
            await _abort(writer, exc)
            raise
        await self._close(writer, blob_id, is_slow=self._clock.now() - began > SLOW_SECONDS)
        return BlobInfo(id=blob_id, bytes=size, sha256=digest.hexdigest(), written_at=self._clock.now())

    async def read(self, blob_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        if end is not None and end <= start:
            await self.size(blob_id)
            return
        while end is None or start < end:
            stop = start + READ_BYTES if end is None else min(end, start + READ_BYTES)
            piece, size = await self._piece(blob_id, start, stop)
            if piece:
                yield piece
            start, end = stop, size if end is None else min(end, size)

    async def size(self, blob_id: str) -> int:
        with _unavailable(f"The blob {blob_id!r} can't be read now"), _not_found(blob_id):
            try:
                return int((await obstore.head_async(self._objects, _path(blob_id)))["size"])
            except FileNotFoundError:  # so HEAD answers where the bucket is missing, too: GET tells
                return int((await obstore.get_async(self._objects, _path(blob_id))).meta["size"])

    def local_path(self, blob_id: str) -> Path | None:  # noqa: ARG002 - the port's signature
        return None

    async def delete(self, blob_ids: Sequence[str]) -> None:
        known = [blob_id for blob_id in blob_ids if is_blob_id(blob_id)]
        paths = [path for blob_id in known for path in (_path(blob_id), f"{_SLOW}/{blob_id}")]
        if paths:
            with _unavailable("Blobs can't be deleted now"):
                await obstore.delete_async(self._objects, paths)

    async def older_than(self, written_before: float) -> AsyncIterator[str]:
        """See BlobStore. By the clock of S3, which serves nobody whose own is more than minutes off."""
        async for page in self._listed(_BLOBS):
            old = [blob_id for blob_id, written_at in page if written_at < written_before]
            young = await self._slow_since(written_before) if old else set()
            for blob_id in old:
                if blob_id not in young:
                    yield blob_id

    async def _close(self, writer: "obstore.AsyncWritableFile", blob_id: str, *, is_slow: bool) -> None:
        try:
            with _unavailable("A blob can't be written now"):
                if is_slow:
                    await obstore.put_async(self._objects, f"{_SLOW}/{blob_id}", b"")
                await asyncio.shield(writer.close())
        except BaseException as exc:
            await _abort(writer, exc)
            with suppress(StoreUnavailable):  # the answer may be all that was lost; the sweep does it then
                await self.delete([blob_id])
            raise

    async def _piece(self, blob_id: str, start: int, stop: int) -> tuple[bytes, int]:
        """Bytes of the blob, and its size."""
        with _unavailable(f"The blob {blob_id!r} can't be read now"), _not_found(blob_id):
            try:
                got = await obstore.get_async(self._objects, _path(blob_id), options={"range": (start, stop)})
                return bytes(await got.bytes_async()), got.meta["size"]
            except BaseError:
                size = await self.size(blob_id)
                if start < size:
                    raise
                return b"", size  # S3 refuses a range that begins beyond the end

    async def _slow_since(self, moment: float) -> set[str]:
        pages = [page async for page in self._listed(_SLOW)]
        return {blob_id for page in pages for blob_id, written_at in page if written_at >= moment}

    async def _listed(self, folder: str) -> AsyncIterator[list[tuple[str, float]]]:
        pages = aiter(obstore.list(self._objects, folder))
        while True:
            with _unavailable("Blobs can't be listed now"):
                page = await anext(pages, None)
            if page is None:
                return
            named = [(one["path"].rpartition("/")[2], one["last_modified"].timestamp()) for one in page]
            yield [(name, written_at) for name, written_at in named if is_blob_id(name)]


def _reach(bucket: str, prefix: str) -> S3Store:
    is_plain = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "").startswith("http://")
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={"allow_http": is_plain},
        retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_SECONDS},
    )


def _refusal(exc: Exception, bucket: str, shown: str) -> ConfigurationError | StoreUnavailable:
    match exc:
        case FileNotFoundError():
            return ConfigurationError(f"There is no bucket {bucket!r} for {shown}: make it first")
        case PermissionDeniedError() | UnauthenticatedError():
            return ConfigurationError(
                f"{shown} may not be used with the credentials of AWS_ACCESS_KEY_ID and the like: {_told(exc)}"
            )
        case ValueError():
            return ConfigurationError(f"{shown} can't be opened: {_told(exc)}")
    if any(path in str(exc) for path in _ROLE_PATHS):
        way_out = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
        return ConfigurationError(f"There are no credentials for {shown}: {way_out}")
    if _MISPLACED in str(exc):
        return ConfigurationError(f"{shown}: is AWS_REGION the bucket's? {_told(exc)}")
    return StoreUnavailable(f"{shown} can't be reached now: {_told(exc)}")


async def _bind(objects: S3Store, new_id: str) -> str:
    try:
        return await _text(objects)
    except FileNotFoundError:
        with suppress(AlreadyExistsError):  # by one of the processes that open a new prefix together
            await obstore.put_async(objects, _STORE_ID, new_id.encode(), mode="create")
    return await _text(objects)


async def _text(objects: S3Store) -> str:
    return bytes(await (await obstore.get_async(objects, _STORE_ID)).bytes_async()).decode().strip()


async def _abort(writer: "obstore.AsyncWritableFile", cause: BaseException) -> None:
    """Deletes the parts that were sent, as far as S3 can be reached; after ``close`` there are none.

    The writer does one thing at a time: a write or a close that was shielded ends first.
    """
    with suppress(BaseError, OSError):
        await writer.__aexit__(type(cause), cause, cause.__traceback__)


@contextmanager
def _unavailable(what: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as exc:
        raise StoreUnavailable(f"{what}: {_told(exc)}") from exc


@contextmanager
def _not_found(blob_id: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        if "NoSuchBucket" in str(exc):
            raise
        raise NotFound(f"There is no blob {blob_id!r}") from exc


def _path(blob_id: str) -> str:
    return f"{_BLOBS}/{place_of(blob_id)}"


def _told(exc: BaseException) -> str:
    """One line: what S3 answered, or else the first of what the library tells."""
    line = str(exc).partition("\n")[0].partition(": <?xml")[0]
    if reason := _REASON.search(str(exc)):
        return f"{line.rpartition(': ')[2]}, {reason['code']} ({' '.join(reason['message'].split())})"
    return line
