"""Processes of this machine: when one started, and whether it is gone. A dead one's jobs are taken back at once."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from forebay.domain.change import Worker

IsGone = Callable[[Worker], bool]

_STATE, _START_TIME = 3, 22  # fields of /proc/<pid>/stat. Source: proc(5)
_ENDED = frozenset({"Z", "X"})  # a zombie, which nobody has waited for yet; dead


def is_gone(worker: Worker) -> bool:
    """True if the worker names this host and a pid that no longer exists, has ended, or is another process's by now.

    ``pid_started`` is compared where there is /proc; elsewhere a pid in use counts as alive.
    """
    if worker.pid <= 0 or worker.host != socket.gethostname():
        return False
    if not exists(worker.pid):
        return True
    fields = _fields(worker.pid)
    if not fields:
        return False
    started = fields[_START_TIME - _STATE]
    return fields[0] in _ENDED or bool(worker.pid_started and started != worker.pid_started)


def exists(pid: int) -> bool:
    """Whether this machine has a process of that number, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def started_at(pid: int) -> str:
    """The start time of a process in the kernel's ticks; empty where there is no /proc."""
    fields = _fields(pid)
    return fields[_START_TIME - _STATE] if fields else ""


def _fields(pid: int) -> list[str]:
    """The fields of the process's stat from its state on; empty where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # the command's name stands in brackets and may hold anything, so fields are counted after the last one
    return text.rpartition(")")[2].split()
