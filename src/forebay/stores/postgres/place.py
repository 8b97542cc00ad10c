"""Place: the address of a store, taken apart: what asyncpg connects to, and what this store itself heeds of it."""

from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from forebay.domain.errors import ConfigurationError

SCHEMES = ("postgresql", "postgres")
DEFAULT_SCHEMA = "forebay"
TRANSACTION = "transaction"  # the pooler lends a server for one transaction: nothing outlives it
_OURS = ("schema", "pooler", "listen", "timeout")
TIMEOUT_SECONDS = 15.0


class Place(NamedTuple):
    """``dsn`` without our own parameters; ``schema`` holds our tables, beside which the database may have others'."""

    dsn: str
    schema: str = DEFAULT_SCHEMA
    is_pooled: bool = False
    timeout_seconds: float = TIMEOUT_SECONDS  # of one transaction, and so of a verb: a cut network answers nothing
    is_listening: bool = True  # False: no connection waits for hints, polling alone finds what other processes did

    @property
    def quoted_schema(self) -> str:
        doubled = self.schema.replace('"', '""')
        return f'"{doubled}"'

    @property
    def shown(self) -> str:
        """The address without its password."""
        parts = urlsplit(self.dsn)
        host = parts.netloc.rpartition("@")[2]
        user = f"{quote(parts.username)}@" if parts.username else ""
        return f"{parts.scheme}://{user}{host}{parts.path}"


def read_place(url: str) -> Place:
    """Takes ``postgresql://user@host/db?schema=forebay&pooler=transaction&listen=off&timeout=15``
    apart; all else is the driver's.

    Raises: ConfigurationError: a parameter of ours has no such value.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ConfigurationError(f"{parts.scheme!r} is no address of PostgreSQL: write postgresql://user@host/database")
    query = parse_qsl(parts.query, keep_blank_values=True)
    ours = {name: value for name, value in query if name in _OURS}
    rest = urlencode([(name, value) for name, value in query if name not in _OURS])
    pooler, listen = ours.get("pooler", ""), ours.get("listen", "on")
    if pooler not in ("", TRANSACTION):
        raise ConfigurationError(f"pooler={pooler!r} of the store's address: say pooler=transaction, or leave it out")
    if listen not in ("on", "off"):
        raise ConfigurationError(f"listen={listen!r} of the store's address: say on or off")
    timeout = ours.get("timeout", str(TIMEOUT_SECONDS))
    if not timeout.replace(".", "", 1).isdigit() or not float(timeout) > 0:
        raise ConfigurationError(f"timeout={timeout!r} of the store's address: say a number of seconds above 0")
    schema = ours.get("schema", DEFAULT_SCHEMA)
    if not schema or "\0" in schema:
        raise ConfigurationError("schema= of the store's address names no schema")
    return Place(
        f"{SCHEMES[0]}://{parts.netloc}{parts.path}" + (f"?{rest}" if rest else ""),
        schema=schema,
        is_pooled=pooler == TRANSACTION,
        timeout_seconds=float(timeout),
        is_listening=listen == "on" and pooler != TRANSACTION,
    )
