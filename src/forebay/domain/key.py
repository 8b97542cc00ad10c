"""API keys: what is kept of one, what it may do, and who calls with it."""

import hashlib
import re
from enum import StrEnum

from forebay.domain.errors import RequestError
from forebay.domain.record import Record

DEFAULT_TENANT = "default"  # the installation's own: its administrators see all of it
PREFIX = "fb"
TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
LONGEST_NAME = 100
SHOWN = 6  # characters of the secret that a list shows beside the id
KEY = re.compile(rf"{PREFIX}_(?P<id>[0-9a-z]{{26}})_(?P<secret>[0-9A-Za-z]{{43}})", re.ASCII)


class Scope(StrEnum):
    """What a key may do. None includes another."""

    SUBMIT = "submit"  # make work, and end or repeat it
    READ = "read"  # see work, its results, and what there is to work with
    ADMIN = "admin"  # keys, webhook endpoints, erasure


class ApiKey(Record, frozen=True, kw_only=True):
    """A key as it is kept: the hash alone, never the key."""

    id: str  # `key_…`; stands in the key itself, so that a key found somewhere can be revoked by its own text
    hash: str  # SHA-256 of the whole key, hexadecimal: 256 random bits need no slow hash
    prefix: str  # its beginning, to know it by
    tenant: str
    scopes: tuple[Scope, ...]
    name: str = ""
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None  # to the minute

    def is_valid(self, now: float) -> bool:
        """Whether a call may be made with it."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Caller(Record, frozen=True, kw_only=True):
    """Whose request it is and what it may do. ``key_id`` is '' while no key exists and nobody needs one."""

    tenant: str = DEFAULT_TENANT
    scopes: frozenset[Scope] = frozenset(Scope)
    key_id: str = ""

    @property
    def is_operator(self) -> bool:
        """Whether it is of the installation's own tenant, which may know what the installation is and does."""
        return self.tenant == DEFAULT_TENANT


def hash_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()


def check_tenant(name: str) -> str:
    """Returns the name. Raises: RequestError."""
    if TENANT.fullmatch(name) is None:
        message = f"tenant: 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit, not {name!r}"
        raise RequestError(message, param="tenant")
    return name
