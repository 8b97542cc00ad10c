"""The child process that computes: llama.cpp's OpenAI-compatible server, as ``python -m forebay.models.server``.

Started by ``guard`` and by nothing else. It reads its settings as one line of JSON from its standard input, so that the
key is on no command line, and ends when that pipe closes: however its parent died, it does not outlive it.
"""

import ctypes
import os
import signal
import sys

import msgspec
import xllamacpp

from forebay.models.settings import ServerSettings

HTTP_THREADS = 128  # one is taken per connection; the health check must find one free
WARNINGS = 2  # llama.cpp's verbosity: 1 errors, 2 warnings, 3 information
SET_PARENT_DEATH_SIGNAL = 1  # Source: Linux, <linux/prctl.h>, PR_SET_PDEATHSIG


def serve(settings: ServerSettings) -> None:
    """Loads the model and answers until the standard input ends; then ends the process."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings.path
    parameters.model_alias = {settings.name}
    parameters.hostnames, parameters.port = ["127.0.0.1"], settings.port
    parameters.reuse_port = True
    parameters.api_keys = [settings.api_key]
    parameters.n_ctx, parameters.n_parallel, parameters.kv_unified = settings.context_tokens, settings.slots, True
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings.threads
    parameters.n_threads_http = HTTP_THREADS
    parameters.cache_ram_mib = 0  # its store of old prompts takes up to 8 GB
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = parameters.ui = False
    parameters.verbosity = WARNINGS
    server = xllamacpp.Server(parameters)
    while os.read(0, 4096):
        pass
    del server


def end_with_parent() -> None:
    """Has Linux kill this process when its parent dies, even while the model loads and the pipe is not watched."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def main() -> None:
    # Ctrl-C reaches the whole group: the parent decides when this ends, after its calls have.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    line = sys.stdin.buffer.readline()
    if line:
        serve(msgspec.json.decode(line, type=ServerSettings))
    os._exit(0)  # threads of a server without state are not worth waiting for


if __name__ == "__main__":
    main()
