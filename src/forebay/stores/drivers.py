"""Back ends that load at their first use: who keeps all in files needs no driver of a database or of S3."""

from functools import cache
from importlib import import_module
from types import ModuleType

from forebay.domain.errors import ConfigurationError

_DRIVERS = {  # module, what it needs, the extra
    "postgresql": ("forebay.stores.postgres", "asyncpg", "postgres"),
    "s3": ("forebay.blobs.objects", "obstore", "s3"),
}


@cache
def store_driver(name: str) -> ModuleType:
    """Returns the package of a back end. Raises: ConfigurationError: the extra that it needs is not installed."""
    module, needed, extra = _DRIVERS[name]
    try:
        return import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name != needed:
            raise
        raise ConfigurationError(f"{name} needs {needed}: pip install 'forebay[{extra}]'") from exc
