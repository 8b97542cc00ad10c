"""The child process that computes: llama.cpp's OpenAI-compatible server, as ``python -m forebay.models.server``.

Started by ``guard`` and by nothing else; see ``child`` for how it begins and ends.
"""

import os

import xllamacpp

from forebay.models.child import read_settings, wait_for_end
from forebay.models.settings import ServerSettings

HTTP_THREADS = 128  # one is taken per connection; the health check must find one free
WARNINGS = 2  # llama.cpp's verbosity: 1 errors, 2 warnings, 3 information


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
    wait_for_end()
    del server


def main() -> None:
    settings = read_settings()
    if settings is not None:
        serve(settings)
    os._exit(0)  # threads of a server without state are not worth waiting for


if __name__ == "__main__":
    main()
