"""Processes of this machine: when one started, and whether it is gone. A dead one's jobs are taken back at once."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from forebay.domain.change import Worker

IsGone = Callable[[Worker], bool]

_START_TIME = 22  # the field of /proc/<pid>/stat. Source: proc(5)


def is_gone(worker: Worker) -> bool:
    """True if the worker names this host and a pid that no longer exists, or is another process's by now.

    ``pid_started`` is compared where there is /proc; elsewhere a pid in use counts as alive.
    """
    if worker.pid <= 0 or worker.host != socket.gethostname():
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # alive, another user's
    started = started_at(worker.pid)
    return bool(started and worker.pid_started and started != worker.pid_started)


def started_at(pid: int) -> str:
    """The start time of a process in the kernel's ticks; empty where there is no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # the command's name stands in brackets and may hold anything, so fields are counted after the last one
    fields = text.rpartition(")")[2].split()
    return fields[_START_TIME - 3]
