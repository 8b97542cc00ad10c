"""Digests of files of this machine, remembered as long as nothing tells of a change."""

import hashlib
import os
import time
from pathlib import Path

from forebay.connectors.stopping import Stopper

PIECE_BYTES = 1024 * 1024
MOST_REMEMBERED = 10_000
_SETTLED_NS = 2 * 10**9  # a file written since then may change again within the same tick of its clock

Identity = tuple[int, int, int, int, int]


class Digests:
    """One process's memory. Safe from several threads: at worst one reads a file again."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Identity, str]] = {}

    def of(self, path: Path, stopper: Stopper) -> str:
        """The sha256 of a file. Raises: OSError, Stopped."""
        name = str(path.resolve())
        identity, written = _identity(path.stat())
        known = self._known.get(name)
        if known is not None and known[0] == identity:
            return known[1]
        began = time.time_ns()
        digest = hash_file(path, stopper)
        if began - written > _SETTLED_NS and _identity(path.stat())[0] == identity:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[name] = (identity, digest)
        return digest


def hash_file(path: Path, stopper: Stopper) -> str:
    """Reads the file. Raises: OSError, Stopped."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            stopper.check()
            digest.update(piece)
    return digest.hexdigest()


def _identity(stat: os.stat_result) -> tuple[Identity, int]:
    """What changes with the content, and when it last did."""
    identity = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return identity, max(stat.st_mtime_ns, stat.st_ctime_ns)
