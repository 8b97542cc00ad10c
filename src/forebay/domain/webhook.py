"""Webhooks: who hears of the ends of jobs. What an endpoint's record and a delivery's job carry."""

from enum import StrEnum
from typing import Any

import msgspec

from forebay.domain.job import Status
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord

NOTIFY = "notify"  # the kind of a delivery's job
SUBSCRIBE = "subscribe"  # of the job that lets a new endpoint hear of what was live already
ENDPOINT = "webhook_endpoint"  # the kinds of records
TENANT_SECRET = "webhook_secret"  # noqa: S105 - its versions, never itself
GONE = "webhook_gone"
CONFIGURED = "config_"  # begins the id of an endpoint of forebay.yaml
LIFESPAN_SECONDS = 3 * 86_400.0  # of a delivery. Source: interfaces.md
LARGEST_VIEW_BYTES = 256 * 1024  # of a job in `data`. Source: interfaces.md
MOST_ENDPOINTS = 20  # of a tenant: every job of it carries a notice for each


class Subject(StrEnum):
    """What an event is about."""

    JOB = "job"
    BATCH = "batch"
    MESSAGE_BATCH = "message_batch"  # its events are those of a batch
    RESPONSE = "response"
    RUN = "run"  # of a pipeline


class Include(StrEnum):
    """What ``data`` has of the job."""

    ID = "id"
    JOB = "job"


class OldSecret(Record, frozen=True, kw_only=True):
    """A version that a rotation left valid for a while."""

    version: int
    until: float


class SecretVersions(Record, frozen=True, kw_only=True):
    """Which derived secrets are valid. ``data`` of a tenant's record, and a part of an endpoint's."""

    version: int = 1
    old: tuple[OldSecret, ...] = ()

    def active(self, now: float) -> tuple[int, ...]:
        """The versions to sign with, the newest first."""
        return (self.version, *[old.version for old in self.old if old.until > now])

    def rotated(self, now: float, *, keep_seconds: float = 0.0) -> "SecretVersions":
        """The next version; what is valid now stays so for ``keep_seconds`` at most."""
        kept: tuple[OldSecret, ...] = ()
        if keep_seconds:
            last = OldSecret(version=self.version, until=now + keep_seconds)
            kept = (last, *[old for old in self.old if old.until > now])
        return SecretVersions(version=self.version + 1, old=kept)


class EndpointData(Record, frozen=True, kw_only=True):
    """``data`` of an endpoint's record."""

    name: str
    url: str
    events: tuple[str, ...]
    secrets: SecretVersions = SecretVersions()
    updated_at: float
    disabled_at: float | None = None
    disabled_reason: str | None = None


class ConfiguredEndpoint(Record, frozen=True, kw_only=True):
    """An entry of ``notify.webhooks``: the operator's own, which hears of every tenant's jobs."""

    id: str
    url: str
    secret: str
    events: tuple[str, ...]

    def __repr__(self) -> str:
        """Without the secret and the address, which may be one too."""
        return f"ConfiguredEndpoint(id={self.id!r}, events={self.events!r})"


class JobWebhook(Record, frozen=True, kw_only=True):
    """The address that a job names itself. ``events``: empty for all."""

    url: str
    include: Include = Include.ID
    events: tuple[str, ...] = ()


class NotifyArgs(Record, frozen=True, kw_only=True):
    """``spec.args`` of a delivery: for an endpoint by its id, or for an address that a job named itself.

    ``job_id`` and ``status`` are the ended owner's: the store adds them. A delivery that is sent again on request has
    the event of the first one. What a run's step tells is no end: it has its own ``event_type`` and ``data``.
    """

    subject: Subject = Subject.JOB
    endpoint: str | None = None
    url: str | None = None
    include: Include = Include.ID
    events: tuple[str, ...] = ()
    job_id: str = ""
    status: Status = Status.SUCCEEDED
    event_id: str | None = None
    happened_at: float | None = None
    resend_of: str | None = None
    event_type: str | None = None
    data: Any = None


class Delivery(Record, frozen=True, kw_only=True):
    """One try, ready to be signed and sent."""

    url: str
    event_id: str
    body: bytes
    secrets: tuple[bytes, ...]  # several while one is being rotated

    def __repr__(self) -> str:
        """Without the secrets and the address, which may be one too."""
        return f"Delivery(event_id={self.event_id!r})"


class Delivered(Record, frozen=True, kw_only=True):
    """What the receiver answered; its body says nothing to us."""

    status_code: int
    retry_after: float | None = None  # seconds


class SubscribeArgs(Record, frozen=True, kw_only=True):
    """``spec.args`` of a job that lets an endpoint hear of jobs that were live, and knew nothing of it."""

    endpoint: str
    since: float  # ends before it are no news for this endpoint
    before: float  # jobs made later know of it


_DATA = msgspec.json.Decoder(EndpointData)
_NOTIFY = msgspec.json.Decoder(NotifyArgs)
_SUBSCRIBE = msgspec.json.Decoder(SubscribeArgs)
_VERSIONS = msgspec.json.Decoder(SecretVersions)


def endpoint_data(record: StoredRecord) -> EndpointData:
    """What an endpoint's record says."""
    return _DATA.decode(record.data)


def secret_versions(record: StoredRecord | None) -> SecretVersions:
    """What a tenant's record says; none was rotated yet where there is no record."""
    return SecretVersions() if record is None else _VERSIONS.decode(record.data)


def notify_args(args: str | None) -> NotifyArgs:
    """Reads a delivery's arguments."""
    return _NOTIFY.decode(args or "{}")


def subscribe_args(args: str | None) -> SubscribeArgs:
    return _SUBSCRIBE.decode(args or "{}")


def encoded(data: Record) -> str:
    return msgspec.json.encode(data).decode()
