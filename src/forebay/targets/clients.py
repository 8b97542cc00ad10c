"""The HTTP clients that can be chosen, and the one place that makes them."""

from enum import StrEnum
from importlib import import_module

from forebay.domain.errors import ConfigurationError
from forebay.targets.http import MAX_ANSWER_BYTES, HttpClient


class HttpLibrary(StrEnum):
    """What sends requests."""

    WREQ = "wreq"
    AIOHTTP = "aiohttp"  # where there is no wheel of wreq


DEFAULT_LIBRARY = HttpLibrary.WREQ
#: Imported when one is made: wreq takes 20 MB, and has no wheel for some platforms.
_CLASSES = {
    HttpLibrary.WREQ: ("forebay.targets.wreq_client", "WreqClient"),
    HttpLibrary.AIOHTTP: ("forebay.targets.aiohttp_client", "AiohttpClient"),
}


def open_http(library: HttpLibrary = DEFAULT_LIBRARY, *, max_answer_bytes: int = MAX_ANSWER_BYTES) -> HttpClient:
    """Makes a client that opens its connections as it is called; ``close`` it.

    Raises: ConfigurationError: the library is not installed; the message names the setting for another.
    """
    module, name = _CLASSES[library]
    try:
        made: HttpClient = getattr(import_module(module), name)(max_answer_bytes=max_answer_bytes)
    except ModuleNotFoundError as exc:
        raise ConfigurationError(f"http_client: {library.value} is not installed here ({exc}); choose aiohttp") from exc
    return made
