"""Back ends that load at their first use: who keeps all in files needs no driver of a database or of S3."""

from functools import cache
from types import ModuleType

from forebay.extras import load

_DRIVERS = {  # module, what it needs, the extra
    "postgresql": ("forebay.stores.postgres", "asyncpg", "postgres"),
    "s3": ("forebay.blobs.objects", "obstore", "s3"),
}


@cache
def store_driver(name: str) -> ModuleType:
    """Returns the package of a back end. Raises: ConfigurationError: the extra that it needs is not installed."""
    return load(name, *_DRIVERS[name])
