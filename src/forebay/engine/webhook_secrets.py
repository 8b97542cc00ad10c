"""The secrets that webhooks are signed with: an endpoint's own, and a tenant's for the addresses that its jobs name."""

import base64

import msgspec

from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import TENANT_SECRET, encoded, secret_versions
from forebay.ports import RecordStore
from forebay.secrets import Secrets

PREFIX = "whsec_"  # Source: standardwebhooks.com
KEPT_SECONDS = 86_400.0  # of an old secret. Source: OpenAI's `keep_old_secret_active_for_24_hours`
_CURRENT = "current"  # the id of a tenant's only record of its secret
_OF_ENDPOINT, _OF_TENANT = "webhook-endpoint", "webhook-tenant"


def endpoint_secret(endpoint: str, version: int, secrets: Secrets) -> bytes:
    """The key that an endpoint's deliveries are signed with. Raises: RequestError (`secret_key_missing`)."""
    return secrets.derive(_OF_ENDPOINT, endpoint, version)


def tenant_secret(tenant: str, version: int, secrets: Secrets) -> bytes:
    """The key of a tenant's deliveries to addresses that its jobs name. Raises: as above."""
    return secrets.derive(_OF_TENANT, tenant, version)


async def tenant_secrets(tenant: str, records: RecordStore, secrets: Secrets, now: float) -> tuple[bytes, ...]:
    """Those that are valid, the newest first."""
    record = await records.get(tenant, TENANT_SECRET, _CURRENT)
    return tuple(tenant_secret(tenant, version, secrets) for version in secret_versions(record).active(now))


async def rotate_tenant_secret(
    tenant: str, records: RecordStore, secrets: Secrets, now: float, *, keep_seconds: float = 0.0
) -> bytes:
    """Makes the next secret valid and returns it. Raises: VersionConflict: another is rotating it."""
    record = await records.get(tenant, TENANT_SECRET, _CURRENT)
    rotated = secret_versions(record).rotated(now, keep_seconds=keep_seconds)
    secret = tenant_secret(tenant, rotated.version, secrets)  # before anything is changed
    held = record or StoredRecord(kind=TENANT_SECRET, id=_CURRENT, tenant=tenant, created_at=now)
    await records.put(msgspec.structs.replace(held, data=encoded(rotated)))
    return secret


def shown_secret(secret: bytes) -> str:
    """A secret as receivers are given it."""
    return PREFIX + base64.b64encode(secret).decode()
