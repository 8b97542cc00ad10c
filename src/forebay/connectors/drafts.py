"""Files that appear whole or not at all: written as a draft beside their place, synced, renamed."""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.processes import exists

DRAFT = ".draft"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a draft beside the path; when the block ends well it is synced and renamed to the path."""
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    _remove_left_behind(path)
    try:
        yield draft
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_left_behind(path: Path) -> None:
    """Removes what processes left beside the path that were killed as they wrote it."""
    prefix = f".{path.name}."
    for one in path.parent.glob(f"{glob.escape(prefix)}*{DRAFT}*"):
        pid = one.name.removeprefix(prefix).partition(DRAFT)[0]
        if not pid.isdigit() or exists(int(pid)):
            continue
        if one.is_dir():
            shutil.rmtree(one, ignore_errors=True)
        else:
            one.unlink(missing_ok=True)
