"""Every exception of ours, one tree, branched by what the caller can do.

ForebayError
├── RequestError              fix the request (400, or `status_code`)
│   ├── Unauthorized          401 `invalid_api_key`: present a valid key
│   ├── Forbidden             403 `insufficient_scope`: the key may not do this
│   ├── NotFound              404
│   ├── Conflict              409
│   │   └── VersionConflict   a record changed since it was read
│   ├── TooLarge              413
│   ├── TooMany               429: the tenant's limit; ask again after `retry_after`
│   ├── Overloaded            503: send it again in a moment
│   ├── NotSupported          400 `not_supported`: documented, but this version does not act on it
│   ├── InvalidPattern        400 `invalid_pattern`: an event pattern or filter policy, with where and why
│   └── TemplateFieldMissing  a record lacks a path that the template names
├── ConfigurationError        exit 2: forebay.yaml, an option, the environment
│   └── StoreRefused          exit 2: a foreign, newer or corrupt store
├── PullFailed                exit 1: a local model's files can't be had, or aren't the pinned ones
├── LeaseLost                 drop the job: another worker has it
├── StoreUnavailable          transient: try again
│   └── StoreDamaged          what was asked for can't be read or written: only a restore helps
├── TargetError               one call of a target did not succeed
│   ├── TargetThrottled       429: wait `retry_after`; uses no attempt
│   ├── TargetUnavailable     503, refused, DNS, TLS: wait; uses no attempt
│   ├── TargetTimeout         uses an attempt
│   ├── TargetFailed          408, 409, 425, 5xx, reset after sending, truncated or non-JSON: uses an attempt
│   │   └── RemoteFailed      what it had accepted ended there without a result: uses an attempt
│   └── TargetRejected        any other 4xx: final
├── JobFailed                 the client's: the job it waited for did not succeed
└── Interrupted               the client's: the server went away
"""

from collections.abc import Mapping, Sequence
from typing import Any

from forebay.domain.attempt import Usage


class ForebayError(Exception):
    """The root: `except forebay.ForebayError` catches what we raise on purpose."""


class RequestError(ForebayError):
    """The request can't be done as it stands. ``code`` and ``param`` go into the error envelope."""

    status_code = 400
    code = "invalid_value"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code


class Unauthorized(RequestError):
    """``is_missing``: no key was presented at all."""

    status_code = 401
    code = "invalid_api_key"

    def __init__(self, message: str, *, code: str | None = None, is_missing: bool = False) -> None:
        super().__init__(message, code=code)
        self.is_missing = is_missing


class Forbidden(RequestError):
    """``scope``: what the key would need, where a scope is what it lacks."""

    status_code = 403
    code = "insufficient_scope"

    def __init__(self, message: str, *, scope: str | None = None) -> None:
        super().__init__(message)
        self.scope = scope


class NotFound(RequestError):
    status_code = 404
    code = "not_found"


class Conflict(RequestError):
    status_code = 409
    code = "conflict"


class VersionConflict(Conflict):
    code = "version_conflict"


class TooLarge(RequestError):
    status_code = 413
    code = "too_large"


class TooMany(RequestError):
    """``retry_after``: seconds after which it may be accepted."""

    status_code = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Overloaded(RequestError):
    """503: there is no room for it at this moment."""

    status_code = 503
    code = "server_overloaded"


class NotSupported(RequestError):
    code = "not_supported"


class InvalidPattern(RequestError):
    """``path``: the keys and indexes that lead to what is wrong."""

    code = "invalid_pattern"

    def __init__(self, reason: str, path: Sequence[str | int] = ()) -> None:
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
        super().__init__(f"{where}: {reason}" if where else reason)
        self.reason = reason
        self.path = tuple(path)


class TemplateFieldMissing(RequestError):
    code = "template_field_missing"


class ConfigurationError(ForebayError):
    """Wrong settings or usage: one sentence that names the place and the next step."""


class StoreRefused(ConfigurationError):
    """The store is foreign, newer than this program, or damaged."""


class PullFailed(ForebayError):
    """A local model's files could not be downloaded, or are not the pinned ones; nothing of them was kept."""


class LeaseLost(ForebayError):
    """The lease is another's: send nothing, record nothing, drop the job."""


class StoreUnavailable(ForebayError):
    """The store can't be reached or is full: nothing was acknowledged; try again."""


class StoreDamaged(StoreUnavailable):
    """A page of the store is damaged, and the request needs it: nothing was acknowledged, and waiting does not help."""


class TargetError(ForebayError):
    """One call did not succeed. ``status_code`` and ``body`` are the target's own answer, where it gave one."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        body: bytes | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
        usage: Usage | None = None,
        cost_usd: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.body = body
        self.retry_after = retry_after  # seconds
        self.headers: Mapping[str, str] = headers or {}
        self.code = code  # of the job's error, where the target knows better than its kind says
        self.usage = usage  # what it has taken all the same, where that is known
        self.cost_usd = cost_usd


class TargetThrottled(TargetError):
    """429: the target is working, and asks us to wait."""


class TargetUnavailable(TargetError):
    """The call did not reach a working target: nothing was done, nothing is owed."""


class TargetTimeout(TargetError):
    """No answer within the call's time limit; it may still be working on it."""


class TargetFailed(TargetError):
    """The target had the request and failed, or its answer can't be read."""


class RemoteFailed(TargetFailed):
    """Work that the target had accepted has ended there without a result, or is lost: only a new submission helps."""


class TargetRejected(TargetError):
    """The target refuses this request for good."""


class JobFailed(ForebayError):
    """The job ended otherwise than `succeeded`; ``job`` is its view."""

    def __init__(self, message: str, job: Any = None) -> None:
        super().__init__(message)
        self.job = job


class Interrupted(ForebayError):
    """The connection to the server broke; the job goes on there."""
