"""What the API shows of webhook endpoints and of deliveries."""

from typing import Literal

import msgspec

from forebay.api.paging import Page
from forebay.domain.errors import ConfigurationError, RequestError
from forebay.domain.job import Job, Status
from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import NotifyArgs, endpoint_data, notify_args
from forebay.engine.services import Services
from forebay.engine.views import ErrorView, TryView, try_view
from forebay.engine.webhook_secrets import endpoint_secret, shown_secret
from forebay.policy.events import event_id

HINT_CHARACTERS = 4


class EndpointView(msgspec.Struct, kw_only=True):
    """OpenAI's WebhookEndpoint, and whether it is switched off."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: list[str]
    created_at: int
    updated_at: int
    signing_secret_hint: str | None
    enabled: bool
    disabled_reason: str | None


class SecretView(EndpointView, kw_only=True):
    """The same with its secret: only as it is created, and as the secret is rotated."""

    signing_secret: str


class EndpointList(Page[EndpointView], kw_only=True):
    """A page of endpoints, newest first."""


class TenantSecret(msgspec.Struct, kw_only=True):
    """The secret of deliveries to addresses that a tenant's jobs name themselves."""

    object: Literal["webhook_secret"] = "webhook_secret"
    tenant: str
    signing_secret: str


class DeletedEndpoint(msgspec.Struct, kw_only=True):
    """The reply to a deleted endpoint."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class TestView(msgspec.Struct, kw_only=True):
    """What a sample was answered with."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True  # it was sent; `status_code` says how it was taken


class EventTypeList(msgspec.Struct, kw_only=True):
    """The events that there are."""

    object: Literal["list"] = "list"
    data: list[str]


class DeliveryView(msgspec.Struct, kw_only=True):
    """One event on its way to one endpoint. ``status``: as of any job; ``failed`` is a dead letter."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    status: Status
    event_id: str
    event_type: str
    endpoint_id: str | None
    url: str | None  # of an address that the job named itself
    job_id: str
    created_at: float
    finished_at: float | None
    next_attempt_at: float | None
    resend_of: str | None
    error: ErrorView | None
    attempt_count: int
    attempts: list[TryView]


class DeliveryList(Page[DeliveryView], kw_only=True):
    """A page of deliveries, newest first."""


def view_of(record: StoredRecord, services: Services) -> EndpointView:
    """An endpoint without its secret."""
    return EndpointView(**_common(record, _hint(record, services)))  # type: ignore[arg-type]  # one dict, two structs


def secret_view(record: StoredRecord, secret: bytes) -> SecretView:
    """An endpoint with its secret."""
    shown = shown_secret(secret)
    return SecretView(**_common(record, shown), signing_secret=shown)  # type: ignore[arg-type]  # as above


def delivery_view(job: Job, event_type: str) -> DeliveryView:
    """A delivery, read with its attempts."""
    args: NotifyArgs = notify_args(job.spec.args)
    happened_at = job.created_at if args.happened_at is None else args.happened_at
    is_well = job.status is Status.SUCCEEDED or job.error is None
    return DeliveryView(
        id=job.id,
        status=job.status,
        event_id=args.event_id or event_id(args.job_id, happened_at),
        event_type=event_type,
        endpoint_id=job.spec.metadata.get("endpoint_id"),
        url=args.url,
        job_id=args.job_id,
        created_at=job.created_at,
        finished_at=job.finished_at,
        next_attempt_at=job.due_at if job.status is Status.QUEUED else None,
        resend_of=args.resend_of,
        error=None if is_well or job.error is None else ErrorView(code=job.error.code, message=job.error.message),
        attempt_count=job.attempt_count,
        attempts=[try_view(one) for one in job.attempts],
    )


def _common(record: StoredRecord, secret: str | None) -> dict[str, object]:
    data = endpoint_data(record)
    return {
        "id": record.id,
        "name": data.name,
        "url": data.url,
        "event_types": list(data.events),
        "created_at": int(record.created_at),
        "updated_at": int(data.updated_at),
        "signing_secret_hint": secret and f"whsec_…{secret[-HINT_CHARACTERS:]}",
        "enabled": data.disabled_at is None,
        "disabled_reason": data.disabled_reason,
    }


def _hint(record: StoredRecord, services: Services) -> str | None:
    try:
        return shown_secret(endpoint_secret(record.id, endpoint_data(record).secrets.version, services.secrets))
    except (RequestError, ConfigurationError):  # a process without the secret key shows the endpoint all the same
        return None
