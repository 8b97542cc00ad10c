"""What is said on ``/v1/ws``, both ways: one JSON object a message."""

from typing import Annotated

import msgspec
from msgspec import Meta

from forebay.api.bodies import decode
from forebay.api.errors import ErrorBody, error_body, problem_of
from forebay.api.jobs.requests import Name
from forebay.api.views import JobView
from forebay.domain.errors import RequestError
from forebay.domain.hops import MOST_DIGITS

MOST_WATCHED = 10_000  # jobs of one socket
LONGEST_REF = 255

Ref = Annotated[str, Meta(max_length=LONGEST_REF)] | int | None
Ids = Annotated[list[Name], Meta(max_length=MOST_WATCHED)]


class Action(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    """What a client says. ``ref`` is its own, and comes back with the reply."""

    ref: Ref = None


class Auth(Action, tag="auth"):
    """The first message of a client that sent no key in a header."""

    key: str


class Submit(Action, tag="submit"):
    """``job`` is what ``POST /v1/jobs`` takes. ``hops``: what its header would say; None: what the socket's did."""

    job: msgspec.Raw
    hops: Annotated[int, Meta(ge=0, lt=10**MOST_DIGITS)] | None = None


class Watch(Action, tag="watch"):
    """Answered by each job as it is; then each is told once more when it has ended."""

    ids: Ids


class Unwatch(Action, tag="unwatch"):
    ids: Ids


class Cancel(Action, tag="cancel"):
    """Answered by the jobs as they are then. One of ``id`` and ``ids``."""

    id: Name | None = None
    ids: Ids | None = None


class Ping(Action, tag="ping"):
    """For clients that can't send the protocol's own."""


class Accepted(msgspec.Struct, kw_only=True, tag_field="type", tag="accepted"):
    """The job is durable, and watched. It comes before the job's own message."""

    ref: str | int | None
    id: str


class JobMessage(msgspec.Struct, kw_only=True, tag_field="type", tag="job"):
    """A job as it is."""

    job: JobView


class Pong(msgspec.Struct, kw_only=True, tag_field="type", tag="pong"):
    ref: str | int | None


class Refusal(msgspec.Struct, kw_only=True, tag_field="type", tag="error"):
    """Why something was not done; ``id`` names the job that it is about."""

    ref: str | int | None = None
    id: str | None = None
    error: ErrorBody


Said = Auth | Submit | Watch | Unwatch | Cancel | Ping
Message = Accepted | JobMessage | Pong | Refusal


class _Referred(msgspec.Struct):
    ref: str | int | None = None


_FIELDS = ("action", "ref", "key", "job", "id", "ids")
_ACTION: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)
_REFERRED = msgspec.json.Decoder(_Referred)


def parse_action(data: bytes) -> Said:
    """Parses one message. Raises: RequestError."""
    return decode(_ACTION, data, known=_FIELDS)


def ref_of(data: bytes) -> str | int | None:
    """The ``ref`` of a message that can't be read otherwise, if it has one."""
    try:
        return _REFERRED.decode(data).ref
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def refusal_of(error: Exception, *, ref: str | int | None = None, job_id: str | None = None) -> Refusal:
    """The message that says what went wrong."""
    return Refusal(ref=ref, id=job_id, error=error_body(problem_of(error)))


def ids_of(cancel: Cancel) -> list[str]:
    """Which jobs are meant. Raises: RequestError."""
    if (cancel.id is None) == (cancel.ids is None):
        raise RequestError("Name the jobs by `ids`, or one by `id`", param="ids", code="missing_required_parameter")
    return cancel.ids if cancel.ids is not None else [cancel.id or ""]
