"""API keys in the store: made, found, listed, revoked; for the routes, the key ring and the command line."""

import hmac
import secrets
import string

import msgspec
from msgspec.structs import replace

from forebay.domain.errors import NotFound, StoreUnavailable, VersionConflict
from forebay.domain.ids import IdSource
from forebay.domain.key import KEY, PREFIX, SHOWN, ApiKey, Scope, hash_of
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord
from forebay.ports import RecordStore

KIND = "api_key"
HOLDER = "*"  # the records' tenant: whoever presents a key has not said yet whose it is
SECRET_CHARACTERS = 43  # of 62: 256 bits
USE_SECONDS = 60.0  # between two writes of a key's last use
REVOKING_TRIES = 10
_ALPHABET = string.ascii_letters + string.digits
_DECODER = msgspec.json.Decoder(ApiKey)


class KeyOrder(Record, frozen=True, kw_only=True):
    """A key that is to be made."""

    tenant: str
    scopes: tuple[Scope, ...]
    name: str = ""
    expires_at: float | None = None


async def create_key(order: KeyOrder, records: RecordStore, ids: IdSource, now: float) -> tuple[ApiKey, str]:
    """Makes a key. Returns it as it is kept, and its text, which nobody can read again."""
    key_id = ids.new("key")
    text = f"{PREFIX}_{key_id.removeprefix('key_')}_{_secret()}"
    key = ApiKey(
        id=key_id,
        hash=hash_of(text),
        prefix=text[: -SECRET_CHARACTERS + SHOWN],
        tenant=order.tenant,
        scopes=tuple(scope for scope in Scope if scope in order.scopes),
        name=order.name,
        created_at=now,
        expires_at=order.expires_at,
    )
    await records.put(_stored(key))
    return key, text


async def read_key(key_id: str, tenant: str | None, records: RecordStore) -> ApiKey:
    """Reads a key of the tenant (None: of any). Raises: NotFound."""
    record = await records.get(HOLDER, KIND, key_id)
    key = None if record is None else _DECODER.decode(record.data)
    if key is None or (tenant is not None and key.tenant != tenant):
        raise no_key(key_id)
    return key


async def list_keys(tenant: str | None, records: RecordStore, *, after: str | None, limit: int) -> list[ApiKey]:
    """A page of keys, newest first."""
    match = None if tenant is None else {"tenant": tenant}
    found = await records.list(HOLDER, KIND, after=after, limit=limit, is_ascending=False, match=match)
    return [_DECODER.decode(record.data) for record in found]


async def revoke_key(key_id: str, tenant: str | None, records: RecordStore, now: float) -> ApiKey:
    """Ends a key for good; a revoked one stays as it is. Raises: NotFound."""
    await read_key(key_id, tenant, records)
    for _ in range(REVOKING_TRIES):
        record = await records.get(HOLDER, KIND, key_id)
        if record is None:
            raise no_key(key_id)
        key = _DECODER.decode(record.data)
        if key.revoked_at is not None:
            return key
        key = replace(key, revoked_at=now)
        try:
            await records.put(_stored(key, record.version))
        except VersionConflict:  # its last use was written in between
            continue
        return key
    raise StoreUnavailable(f"key {key_id!r} changes all the time; try again")


async def is_any_key(records: RecordStore) -> bool:
    """Whether a key was ever made. Revoked and expired ones count: without them a server would be open again."""
    return bool(await records.list(HOLDER, KIND, limit=1))


async def verified_key(presented: str, records: RecordStore, now: float) -> ApiKey | None:
    """Finds the valid key that was presented, and notes its use if the last note is a minute old."""
    parts = KEY.fullmatch(presented)
    record = None if parts is None else await records.get(HOLDER, KIND, f"key_{parts['id']}")
    if record is None:
        return None
    key = _DECODER.decode(record.data)
    if not hmac.compare_digest(key.hash, hash_of(presented)) or not key.is_valid(now):
        return None
    if key.last_used_at is None or now - key.last_used_at >= USE_SECONDS:
        try:
            await records.put(_stored(replace(key, last_used_at=now), record.version))
        except (VersionConflict, StoreUnavailable):  # another process has noted it; or a full disk: reads go on
            return key
    return key


def no_key(key_id: str) -> NotFound:
    return NotFound(f"There is no key {key_id!r}", param="id")


def _stored(key: ApiKey, version: int = 0) -> StoredRecord:
    """A record without an expiry: a key whose time is over is still one that was made."""
    data = msgspec.json.encode(key).decode()
    return StoredRecord(kind=KIND, id=key.id, tenant=HOLDER, version=version, data=data, created_at=key.created_at)


def _secret() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(SECRET_CHARACTERS))
