"""A process that calls one user's function, again and again: ``python -m forebay.targets.function_child R W``.

It reads requests from the pipe R and writes replies to W. When R ends its parent is gone, or wants it no more: it ends
at once with all that the function started, in the middle of a call too. What the function prints goes to the standard
error.
"""

import os
import signal
import sys
import threading
from queue import SimpleQueue
from typing import BinaryIO

import msgspec

from forebay.domain.function import InferenceRequest
from forebay.targets.function_loading import FunctionMissing, load_function
from forebay.targets.function_reply import Function, Kind, Reply, called

LENGTH_BYTES = 8


class Load(msgspec.Struct, kw_only=True):
    """The first frame: what is to be called, and where modules are looked for."""

    function: str
    path: list[str]


_REQUEST = msgspec.json.Decoder(InferenceRequest)


def write_frame(pipe: BinaryIO, frame: bytes) -> None:
    """Raises: OSError: nobody reads it any more."""
    pipe.write(len(frame).to_bytes(LENGTH_BYTES, "big"))
    pipe.write(frame)
    pipe.flush()


def read_frame(pipe: BinaryIO) -> bytes:
    """Raises: EOFError: the other side is gone."""
    length = int.from_bytes(_exactly(pipe, LENGTH_BYTES), "big")
    return _exactly(pipe, length)


def encode_reply(reply: Reply) -> bytes:
    return msgspec.msgpack.encode(reply)


def decode_reply(frame: bytes) -> Reply:
    return msgspec.msgpack.decode(frame, type=Reply)


def main() -> None:
    """Serves until the requests end."""
    handles = [int(argument) for argument in sys.argv[1:3]]
    for handle in handles:
        os.set_inheritable(handle, False)  # what the function starts must not hold them
    frames: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(os.fdopen(handles[0], "rb"), frames), daemon=True).start()
    replies = os.fdopen(handles[1], "wb")
    function = _loaded(msgspec.msgpack.decode(frames.get(), type=Load), replies)
    while True:
        frame = frames.get()
        write_frame(replies, encode_reply(Reply(kind=Kind.BEGUN)))
        write_frame(replies, encode_reply(called(function, _REQUEST.decode(frame))))


def _loaded(load: Load, replies: BinaryIO) -> Function:
    sys.path[:] = load.path
    try:
        function = load_function(load.function)
    except FunctionMissing as exc:
        write_frame(replies, encode_reply(Reply(kind=Kind.FAILED, message=str(exc))))
        sys.exit(1)
    write_frame(replies, encode_reply(Reply(kind=Kind.LOADED)))
    return function


def _read(requests: BinaryIO, frames: "SimpleQueue[bytes]") -> None:
    try:
        while True:
            frames.put(read_frame(requests))
    except EOFError:
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise EOFError
    return data


if __name__ == "__main__":
    main()
