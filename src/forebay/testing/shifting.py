"""A ``forebay`` whose clock is set while it runs: ``python -m forebay.testing.shifting --clock FILE -- serve …``.

The wall clock shows the machine's time and as many seconds more as stand in the file, read at every look. The monotonic
clock runs on, as it does when somebody sets a machine's clock.
"""

import argparse
import mmap
import struct
import sys
import time
from pathlib import Path

from forebay.__main__ import main as run

_SECONDS = struct.Struct("d")


class ClockFile:
    """The seconds by which a clock is off, shared by all who opened the file."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_SECONDS.pack(0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SECONDS.size)

    @property
    def seconds(self) -> float:
        [seconds] = _SECONDS.unpack(self._map[:])
        return float(seconds)

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._map[:] = _SECONDS.pack(seconds)


def shift(path: Path) -> None:
    """Sets this process's wall clock by the file from now on, wherever it is asked for."""
    clock, machine = ClockFile(path), time.time
    time.time = lambda: machine() + clock.seconds


def main() -> None:
    """Sets the clock, and runs the command line behind ``--``."""
    parser = argparse.ArgumentParser(prog="python -m forebay.testing.shifting", description=__doc__)
    parser.add_argument("--clock", type=Path, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    shift(options.clock)
    sys.argv = ["forebay", *options.command]
    run()


if __name__ == "__main__":
    main()
