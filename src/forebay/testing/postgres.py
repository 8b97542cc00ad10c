"""A private PostgreSQL for tests: data in a temporary folder, a free port, an unprivileged user, gone afterwards."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.testing.ports import free_port

USER = "forebay"
START_SECONDS = 30.0
PLACES = "/usr/lib/postgresql"  # where Debian puts `<version>/bin`
UNPRIVILEGED = ("postgres", "nobody")  # the first that exists runs the server when we are root
# Order of text must not depend on the locale of whoever made the database: an unlike one shows it.
LOCALE = ("--encoding=UTF8", "--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8")
QUICK = ("fsync=off", "full_page_writes=off")
LASTING = ("fsync=on",)
COMMON = ("max_connections=200", "shared_buffers=64MB", "log_min_messages=fatal", "max_wal_size=4GB")


class PostgresMissing(Exception):
    """There are no binaries of PostgreSQL here."""


class PostgresServer:
    """One server. ``is_lasting`` False: no fsync, for tests that never cut its power."""

    def __init__(self, folder: Path, *, is_lasting: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self._settings = (*COMMON, *(LASTING if is_lasting else QUICK))
        self._binaries = find_binaries()
        self._process: subprocess.Popen[bytes] | None = None
        self._run_as = run_as()

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{database}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def make(self) -> None:
        """Makes the cluster."""
        if self._run_as is not None:
            os.chown(self.folder, *self._run_as)
        self._call("initdb", "-D", str(self._data), "-U", USER, "--auth=trust", "--no-sync", *LOCALE)

    def copy(self, primary: "PostgresServer", name: str) -> None:
        """Makes the cluster as a hot standby of another, which streams to it under the name."""
        if self._run_as is not None:
            os.chown(self.folder, *self._run_as)
        address = f"host=127.0.0.1 port={primary.port} user={USER} application_name={name}"
        self._call(
            "pg_basebackup", "-d", address, "-D", str(self._data), "-R", "-X", "stream", "-c", "fast", "--no-sync"
        )

    def promote(self) -> None:
        """Makes a standby a server of its own, and waits until it writes."""
        if self.run(f"SELECT pg_promote(true, {START_SECONDS:.0f})").strip() != "t":
            raise RuntimeError("the standby was not promoted")

    def start(self) -> None:
        """Starts the server and waits until it takes connections."""
        options = [word for setting in self._settings for word in ("-c", setting)]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-k", str(self.folder)]
        command += ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", *options]
        with (self.folder / "log").open("ab") as log:
            user, group = self._run_as or (None, None)
            self._process = subprocess.Popen(command, stderr=log, stdout=log, user=user, group=group)  # noqa: S603
        until = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self, *, is_immediate: bool = False) -> None:
        """Stops it: cutting every session off (fast), or as if the power failed (immediate)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if is_immediate else signal.SIGINT)
            try:
                self._process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def run(self, *statements: str, database: str = "postgres") -> str:
        """Runs SQL by psql, each statement on its own, and returns what it prints."""
        words = [word for statement in statements for word in ("-c", statement)]
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port)]
        return self._call("psql", *options, "-U", USER, "-d", database, *words)

    def make_database(self, name: str, *, template: str = "template1") -> str:
        """Makes a database and returns its address."""
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _is_ready(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603

    def _call(self, program: str, *words: str) -> str:
        command = [str(self._binaries / program), *words]
        user, group = self._run_as or (None, None)
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, check=False, text=True, cwd=self.folder, user=user, group=group
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}")
        return done.stdout


@contextmanager
def postgres_server(
    *, is_lasting: bool = False, standby_of: PostgresServer | None = None, name: str = "standby"
) -> Iterator[PostgresServer]:
    """A started server, stopped and removed afterwards. Raises: PostgresMissing: install PostgreSQL's packages."""
    folder = Path(tempfile.mkdtemp(prefix="forebay-postgres-"))
    try:
        server = PostgresServer(folder, is_lasting=is_lasting)
        if standby_of is None:
            server.make()
        else:
            server.copy(standby_of, name)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_binaries() -> Path:
    """The folder of initdb and postgres: of PATH, else Debian's newest. Raises: PostgresMissing."""
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    versions = Path(PLACES).glob("*/bin")
    candidates += sorted(versions, key=lambda path: float(path.parent.name), reverse=True)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresMissing(f"no initdb on PATH or in {PLACES}/*/bin: install PostgreSQL (Debian: `postgresql`)")


def run_as() -> tuple[int, int] | None:
    """User and group of an unprivileged user when we are root, as whom PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise PostgresMissing(f"PostgreSQL does not run as root, and there is no user named {' or '.join(UNPRIVILEGED)}")
