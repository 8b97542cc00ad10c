"""The life of a process that serves a model: how it learns what to do, and when it ends."""

import ctypes
import os
import signal
import sys

import msgspec

from forebay.models.settings import ServerSettings

SET_PARENT_DEATH_SIGNAL = 1  # Source: Linux, <linux/prctl.h>, PR_SET_PDEATHSIG


def read_settings() -> ServerSettings | None:
    """Reads the settings, one line of JSON from the standard input, so that the key is on no command line.

    None: the parent went away before it had written them.
    """
    # Ctrl-C reaches the whole group: the parent decides when this ends, after its calls have.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    line = sys.stdin.buffer.readline()
    return msgspec.json.decode(line, type=ServerSettings) if line else None


def wait_for_end() -> None:
    """Returns when the standard input ends: however the parent died, this process does not outlive it."""
    while os.read(0, 4096):
        pass


def _end_with_parent() -> None:
    """Has Linux kill this process when its parent dies, even while the model loads and the pipe is not watched."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
