"""Object stores by address (``s3://bucket/key``, ``gs://bucket/key``), with the credentials of the environment."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import GCSStore, S3Store

from forebay.domain.errors import RequestError, TargetUnavailable

if TYPE_CHECKING:
    from obstore.store import RetryConfig

SCHEMES = ("s3", "gs")
_RETRIES = 4
_RETRY_SECONDS = timedelta(seconds=15)
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ROLE_PATHS = ("/latest/api/token", "/latest/meta-data")  # where a machine is asked for its role, without any keys
_REASON_CHARACTERS = 300

ObjectStore = S3Store | GCSStore


def open_bucket(address: str) -> tuple[ObjectStore, str]:
    """The bucket of an address, and the key in it. Raises: RequestError."""
    parts = urlsplit(address, allow_fragments=False)
    key = address.split("://", 1)[1].partition("/")[2]
    if not parts.netloc:
        raise RequestError(f"{address!r} names no bucket", param="path")
    retries: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": _RETRY_SECONDS}
    if parts.scheme == "gs":
        return GCSStore(parts.netloc, retry_config=retries), key
    is_plain = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "").startswith("http://")
    return S3Store(parts.netloc, client_options={"allow_http": is_plain}, retry_config=retries), key


@contextmanager
def telling(shown: str, code: str) -> Iterator[None]:
    """Errors of the library as ours. Raises: RequestError: only a change helps; TargetUnavailable: try again."""
    try:
        yield
    except FileNotFoundError as exc:
        what = "its bucket does not exist" if "NoSuchBucket" in str(exc) else "does not exist"
        raise RequestError(f"{shown!r}: {what}" if "bucket" in what else f"{shown!r} {what}", code=code) from exc
    except (PermissionDeniedError, UnauthenticatedError) as exc:
        raise RequestError(f"{shown!r} may not be used with these credentials", code=code) from exc
    except PreconditionError as exc:
        raise RequestError(f"{shown!r} changed while it was read: run it again", code=code) from exc
    except (BaseError, OSError, ValueError) as exc:
        if any(path in str(exc) for path in _ROLE_PATHS):
            raise RequestError(f"{shown!r}: there are no credentials for it in the environment", code=code) from exc
        told = re.sub(r"\s+", " ", str(exc))[:_REASON_CHARACTERS]
        raise TargetUnavailable(f"{shown!r} can't be reached now: {told}") from exc


__all__ = ["SCHEMES", "ObjectStore", "obstore", "open_bucket", "telling"]
