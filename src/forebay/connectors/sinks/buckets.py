"""Files as objects of a bucket: sent in parts, and there when the last request was answered; never half of one."""

from contextlib import suppress
from pathlib import Path

import obstore
from obstore.exceptions import BaseError

from forebay.connectors.objects import open_bucket, telling
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SINK_FAILED

PART_BYTES = 8 * 1024 * 1024


def upload(path: Path, address: str, place: Workplace) -> str:
    """Replaces the object by the file, and returns what the store says of its content.

    Raises: RequestError, TargetUnavailable: the object is as it was.
    """
    store, key = open_bucket(address)
    if not key or key.endswith("/"):
        raise RequestError(f"{address!r} names no object", param="path")
    with telling(address, SINK_FAILED), path.open("rb") as file:
        writer = obstore.open_writer(store, key, buffer_size=PART_BYTES)
        try:
            while piece := file.read(PART_BYTES):
                place.stopper.check()
                writer.write(piece)
        except BaseException as exc:
            with suppress(BaseError, OSError):
                writer.__exit__(type(exc), exc, exc.__traceback__)  # deletes the parts that were sent
            raise
        writer.close()
        return str(obstore.head(store, key)["e_tag"] or "")


def tag_of(address: str) -> str | None:
    """What the store says of an object's content; None: there is none. Raises: TargetUnavailable."""
    store, key = open_bucket(address)
    with telling(address, SINK_FAILED):
        try:
            return str(obstore.head(store, key)["e_tag"] or "")
        except FileNotFoundError:
            return None
