"""Endpoints: who hears of a job, where a delivery goes, what it is signed with, and how one is switched off."""

import base64

import msgspec
import structlog

from forebay.domain.errors import RequestError, VersionConflict
from forebay.domain.job import Job, JobError, Notice
from forebay.domain.order import Order
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import (
    CONFIGURED,
    ENDPOINT,
    GONE,
    NotifyArgs,
    Subject,
    encoded,
    endpoint_data,
)
from forebay.engine.notices import notice_to
from forebay.engine.services import Services
from forebay.engine.webhook_secrets import PREFIX, endpoint_secret, tenant_secret, tenant_secrets

log = structlog.get_logger(__name__)
DEFAULT_TENANT = "default"  # has the records of what belongs to no tenant
GONE_SECONDS = 86_400.0  # a configured endpoint has no other way back than to be tried again
ENDPOINT_DELETED, ENDPOINT_DISABLED = "endpoint_deleted", "endpoint_disabled"
_TRIES = 5  # of an update that others are making too


class _Reason(Record, frozen=True, kw_only=True):
    """``data`` of the record of a configured endpoint that is gone."""

    reason: str


_REASON = msgspec.json.Decoder(_Reason)


class Place(Record, frozen=True, kw_only=True):
    """Where to send. ``endpoint``: what to switch off there; None: an address that a job named itself."""

    url: str
    secrets: tuple[bytes, ...]
    events: tuple[str, ...]
    endpoint: str | None = None

    def __repr__(self) -> str:
        """Without secrets."""
        return f"Place(endpoint={self.endpoint!r})"


async def place_of(job: Job, args: NotifyArgs, services: Services) -> Place | JobError:
    """Where a delivery goes now, or why it goes nowhere. Raises: RequestError (`secret_key_missing`)."""
    if args.endpoint is None:
        secrets = await tenant_secrets(job.tenant, services.records, services.secrets, services.clock.now())
        return Place(url=args.url or "", secrets=secrets, events=args.events)
    if args.endpoint.startswith(CONFIGURED):
        return await _configured(args.endpoint, services)
    record = await services.records.get(job.tenant, ENDPOINT, args.endpoint)
    if record is None:
        return JobError(code=ENDPOINT_DELETED, message=f"The webhook endpoint {args.endpoint!r} was deleted")
    data = endpoint_data(record)
    if data.disabled_at is not None:
        return _disabled(args.endpoint, data.disabled_reason)
    versions = data.secrets.active(services.clock.now())
    secrets = tuple(endpoint_secret(record.id, version, services.secrets) for version in versions)
    return Place(url=data.url, secrets=secrets, events=data.events, endpoint=record.id)


async def notices_of(order: Order, subject: Subject, services: Services, tenant: str) -> tuple[Notice, ...]:
    """Everybody who hears of the end of the job that an order makes: its tenant's endpoints, and whom it names itself.

    Raises: RequestError (`webhook_url_refused`, `secret_key_missing`).
    """
    known = () if order.parent_id else await services.notices.of(tenant, subject)
    if order.notify is None:
        return (*order.on_end, *known)
    await check_address(order.notify.url, tenant, services)
    return (*order.on_end, *known, notice_to(order.notify, tenant))


async def disable(place: Place, job: Job, services: Services, reason: str) -> None:
    """Sends nothing more to an endpoint that said it is gone."""
    if place.endpoint is None:
        return
    log.warning("webhook_endpoint_disabled", endpoint=place.endpoint, reason=reason)
    if place.endpoint.startswith(CONFIGURED):
        await _mark_gone(place.endpoint, reason, services)
        return
    for _ in range(_TRIES):
        record = await services.records.get(job.tenant, ENDPOINT, place.endpoint)
        if record is None:
            break
        data = endpoint_data(record)
        if data.url != place.url:  # it was given another address meanwhile
            break
        off = msgspec.structs.replace(data, disabled_at=services.clock.now(), disabled_reason=reason)
        try:
            await services.records.put(msgspec.structs.replace(record, data=encoded(off)))
        except VersionConflict:
            continue
        break
    services.notices.forget(job.tenant)


async def check_address(url: str, tenant: str, services: Services) -> None:
    """Judges an address that a user names. Raises: RequestError (`webhook_url_refused`, `secret_key_missing`)."""
    if services.notifier is None:
        raise RequestError("This server sends no webhooks", param="notify", code="not_supported")
    await services.notifier.check(url, "notify.webhook")
    tenant_secret(tenant, 1, services.secrets)


async def _configured(endpoint: str, services: Services) -> Place | JobError:
    found = services.webhooks.get(endpoint)
    if found is None:
        return JobError(code=ENDPOINT_DELETED, message="The webhook does not stand in the configuration any more")
    if gone := await services.records.get(DEFAULT_TENANT, GONE, endpoint):
        return _disabled(endpoint, _REASON.decode(gone.data).reason)
    secret = base64.b64decode(found.secret.removeprefix(PREFIX))
    return Place(url=found.url, secrets=(secret,), events=found.events, endpoint=endpoint)


async def _mark_gone(endpoint: str, reason: str, services: Services) -> None:
    now = services.clock.now()
    record = StoredRecord(
        kind=GONE,
        id=endpoint,
        tenant=DEFAULT_TENANT,
        data=encoded(_Reason(reason=reason)),
        created_at=now,
        expires_at=now + GONE_SECONDS,
    )
    try:
        await services.records.put(record)
    except VersionConflict:
        return  # another delivery said so


def _disabled(endpoint: str, reason: str | None) -> JobError:
    return JobError(code=ENDPOINT_DISABLED, message=f"The webhook endpoint {endpoint!r} is disabled: {reason}")
