"""A real PgBouncer in transaction mode before one of our servers, where one is installed (Debian: ``pgbouncer``)."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.testing.ports import free_port
from forebay.testing.postgres import USER, PostgresServer, run_as

PLACE = "/usr/sbin/pgbouncer"  # where Debian puts it, out of the PATH of most users
START_SECONDS = 30.0
SERVERS = 8  # connections to a database: fewer than two workers ask for
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={upstream} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = {user}
pool_mode = transaction
default_pool_size = {servers}
max_client_conn = 200
logfile = {folder}/pgbouncer.log
pidfile =
"""


def find_pgbouncer() -> str | None:
    """The program, or None where it isn't installed."""
    found = shutil.which("pgbouncer")
    return found or (PLACE if Path(PLACE).exists() else None)


@contextmanager
def pgbouncer(server: PostgresServer, *, servers: int = SERVERS) -> Iterator[int]:
    """Runs it before the server and tells its port. Raises: RuntimeError: there is none, or it does not start."""
    program = find_pgbouncer()
    if program is None:
        raise RuntimeError("there is no pgbouncer here: install it (Debian: `pgbouncer`)")
    with tempfile.TemporaryDirectory(prefix="forebay-pgbouncer-") as name:
        folder, port = Path(name), free_port()
        (folder / "ini").write_text(
            CONFIGURATION.format(upstream=server.port, port=port, user=USER, servers=servers, folder=folder)
        )
        user, group = run_as() or (None, None)
        if user is not None and group is not None:
            os.chown(folder, user, group)
        process = subprocess.Popen([program, "-q", str(folder / "ini")], user=user, group=group)  # noqa: S603
        try:
            _wait_for(port, process, folder)
            yield port
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    log = folder / "pgbouncer.log"
    raise RuntimeError(f"PgBouncer did not start:\n{log.read_text() if log.exists() else ''}")
