"""Secrets that must be used and not only compared: derived when they are needed, and never stored.

Each is an HMAC of its purpose under the master secret: the setting ``secret_key``, or a file that only its owner can
read, made beside a SQLite store by whoever needs it first.
"""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from forebay.domain.errors import ConfigurationError, RequestError

MASTER_BYTES = 32
OWNER_ALONE = 0o600
_FILE = "secret"


class Secrets:
    """``key``: the setting. ``path``: where the master secret stands, or will, where none was set."""

    def __init__(self, key: str | None = None, path: Path | None = None) -> None:
        self._master = key.encode() if key else None
        self._path = path

    def derive(self, purpose: str, name: str, version: int) -> bytes:
        """32 bytes, the same on every machine with the same master secret.

        Raises: RequestError (`secret_key_missing`), ConfigurationError: the file can't be read or made.
        """
        message = f"{purpose}:{name}:{version}".encode()
        return hmac.digest(self._known() or self._load(), message, hashlib.sha256)

    def _known(self) -> bytes | None:
        return self._master

    def _load(self) -> bytes:
        if self._path is None:
            raise RequestError(
                "Signing webhooks needs a secret key that all machines share: set `secret_key` (FOREBAY_SECRET_KEY)",
                code="secret_key_missing",
            )
        try:
            self._master = _read(self._path) or _made(self._path)
        except OSError as exc:
            raise ConfigurationError(f"The secret key's file {self._path} can't be read or made: {exc}") from exc
        return self._master


def secret_path(store: Path) -> Path:
    """Where the master secret of a SQLite store stands."""
    return store.with_name(f"{store.name}.{_FILE}")


def _read(path: Path) -> bytes | None:
    try:
        master = bytes.fromhex(path.read_text("ascii").strip())
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise ConfigurationError(f"{path} holds no secret key: restore it, or move it away for a new one") from exc
    if len(master) < MASTER_BYTES:
        raise ConfigurationError(f"{path} holds no whole secret key: restore it, or move it away for a new one")
    return master


def _made(path: Path) -> bytes:
    """Makes the file whole or not at all; of two processes at once, both get the one that was first."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ALONE)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(MASTER_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    _sync(path.parent)
    master = _read(path)
    if master is None:
        raise ConfigurationError(f"{path} was removed while it was made: try again")
    return master


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
