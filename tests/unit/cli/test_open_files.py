"""A server may have more sockets open than the shell that started it allows at first."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from forebay.cli.service import MOST_FILES, allow_many_files

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
allow_many_files()
wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have bounds of their own")
def test_the_bound_on_open_files_is_raised_as_far_as_it_may_be() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=120)
