"""A process that has imported everything and forks: a new ``forebay`` in milliseconds instead of a second of CPU.

What it makes are processes of their own in every respect: to be killed, stopped, drained and bounded as any other.
Run by ``forebay.testing.processes``, with one end of a socket as its argument.
"""

import importlib
import importlib.util
import io
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable

import msgspec

LARGEST_MESSAGE = 1024 * 1024  # a request is one message
PRELOADED = (
    "forebay.cli.main",  # with the commands that tests start: it imports only the one that runs
    "forebay.cli.run",
    "forebay.cli.serve",
    "forebay.cli.worker",
    "forebay.testing.crashing",
    "forebay.testing.shifting",
)
DRIVER, DRIVEN = "asyncpg", ("forebay.stores.postgres", "forebay.blobs.postgres")  # where that extra is installed


class Birth(msgspec.Struct, kw_only=True):
    """What to run: the ``main`` of a module, as if by ``python -m``; its output goes into the descriptor sent along."""

    module: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]


class Life(msgspec.Struct, kw_only=True):
    """Told twice of each child: as it is born (``code`` None, in the order of requests), and as it has ended."""

    pid: int
    code: int | None = None  # below 0: the signal


_BIRTH = msgspec.json.Decoder(Birth)


def main() -> None:
    """Serves until the other end closes; in a child, becomes what was asked for."""
    for module in (*PRELOADED, *(DRIVEN if importlib.util.find_spec(DRIVER) else ())):
        importlib.import_module(module)
    with socket.socket(fileno=int(sys.argv[1])) as wire:
        become = Nursery(wire).serve()
    if become is not None:
        become()


class Nursery:
    """One wire, one thread: a fork must find no lock held by another."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)

    def serve(self) -> Callable[[], None] | None:
        """Forks on request. Returns None at the end of the wire; in a child, what it is to do."""
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the children
        with selectors.DefaultSelector() as selector:
            selector.register(self._wire, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        self._reap()
                        continue
                    message, descriptors, _, _ = socket.recv_fds(self._wire, LARGEST_MESSAGE, 1)
                    if not message:
                        return None
                    birth = _BIRTH.decode(message)
                    if (pid := os.fork()) == 0:
                        selector.close()
                        return lambda: self._live(birth, descriptors[0])
                    os.close(descriptors[0])
                    self._tell(Life(pid=pid))

    def _reap(self) -> None:
        while True:
            try:
                self._woken.recv(4096)
            except BlockingIOError:
                break
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._tell(Life(pid=pid, code=os.waitstatus_to_exitcode(status)))

    def _tell(self, life: Life) -> None:
        try:
            self._wire.sendall(msgspec.json.encode(life))
        except (BrokenPipeError, ConnectionResetError):
            return  # nobody listens any more; the wire's end is seen next

    def _live(self, birth: Birth, output: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for end in (self._woken, self._waker):
            end.close()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, place in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, place)
        os.close(nothing)
        os.close(output)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True)
        os.chdir(birth.folder)
        os.environ.clear()
        os.environ.update(birth.environment)
        sys.argv = [birth.module, *birth.arguments]
        importlib.import_module(birth.module).main()


def send_birth(wire: socket.socket, birth: Birth, output: int) -> None:
    """Asks for a child that writes into ``output``."""
    socket.send_fds(wire, [msgspec.json.encode(birth)], [output])


if __name__ == "__main__":
    main()
