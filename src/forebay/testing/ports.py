"""Ports for servers that start some time after their port was chosen, or come back at the same one."""

import random
import socket

LOWEST, HIGHEST = 15_000, 30_000  # below those that systems give to outgoing connections: 32,768 on Linux, 49,152 else


def free_port() -> int:
    """A port of loopback on which nobody listens, and which no outgoing connection will be given meanwhile.

    Raises: OSError: none was found.
    """
    chance = random.SystemRandom()  # processes of one run must not choose alike
    refused: OSError | None = None
    for _ in range(100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", chance.randint(LOWEST, HIGHEST)))
            except OSError as exc:
                refused = exc
                continue
            return int(probe.getsockname()[1])
    raise refused or OSError("no port is free")
