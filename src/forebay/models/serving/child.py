"""The process of a small model: ``python -m forebay.models.serving.child``, started by ``guard`` and nothing else."""

import asyncio
import os
import socket
import sys
import threading
from importlib import import_module
from typing import Any

import uvicorn

from forebay.models.child import read_settings, wait_for_end
from forebay.models.engines import ENGINES
from forebay.models.serving.adapter import Adapter
from forebay.models.serving.app import build_app
from forebay.models.settings import ServerSettings


def refuse_connections(event: str, _arguments: tuple[Any, ...]) -> None:
    """An audit hook: no library of an engine may fetch anything, at whatever moment it thinks of it."""
    if event in {"socket.connect", "socket.getaddrinfo"}:
        raise PermissionError("a local model's server makes no connections")


async def serve(settings: ServerSettings) -> None:
    """Loads the model and answers until the process is ended."""
    adapter: Adapter = import_module(ENGINES[settings.kind].adapter).load(settings)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # the guard holds the port so
        place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # callers' sockets inherit it: else 40 ms an answer
        place.bind(("127.0.0.1", settings.port))
        options = uvicorn.Config(
            build_app(adapter, settings), log_level="warning", access_log=False, lifespan="off", server_header=False
        )
        await uvicorn.Server(options).serve(sockets=[place])


def end_with_pipe() -> None:
    """Ends the process when the parent lets go of it."""
    wait_for_end()
    os._exit(0)  # threads of a server without state are not worth waiting for


def main() -> None:
    settings = read_settings()
    if settings is None:
        return
    sys.addaudithook(refuse_connections)
    threading.Thread(target=end_with_pipe, daemon=True).start()
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
