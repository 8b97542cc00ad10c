"""Which process this is: a pid and the time it started, because pids are used again."""

from pathlib import Path

STAT_START_FIELD = 22  # Source: proc(5), /proc/[pid]/stat (22) starttime


def start_of_process(pid: int) -> str:
    """Returns the kernel's start time of the process, '' where there is no /proc or no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The second field is the name in parentheses, and may hold spaces: count from behind it.
    return stat.rpartition(")")[2].split()[STAT_START_FIELD - 3]
