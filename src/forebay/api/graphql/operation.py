"""What the resolvers of one operation have at hand, and how much of results it may hold at once."""

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

import strawberry

from forebay.api.admission import load
from forebay.api.context import Api, Caller
from forebay.api.views import JobView, view_of
from forebay.domain.errors import RequestError, TooLarge, Unauthorized
from forebay.domain.job import Job

T = TypeVar("T")

MOST_RESULT_BYTES = 64 * 1024 * 1024  # of all results in one reply, beyond the first


@dataclass(slots=True, kw_only=True)
class Operation:
    """One query, mutation or subscription. ``presented``: a socket's API key, which is looked up again and again."""

    api: Api
    caller: Caller
    presented: str | None = None
    hops: int = 0
    connection_params: dict[str, Any] = field(default_factory=dict)  # of `connection_init`, until it was answered
    _held_bytes: int = field(default=0, init=False)

    def fresh(self) -> "Operation":
        """The same client's next operation."""
        return replace(self)

    async def check(self) -> None:
        """Looks the key up again. Raises: Unauthorized: it is revoked, or another tenant's; StoreUnavailable."""
        caller = await self.api.keys.authenticate(self.presented)
        if caller.tenant != self.caller.tenant:
            raise Unauthorized("API keys are needed now: connect again with one")
        self.caller = caller

    def begun(self, event: T) -> T:
        """Begins the reply to one event of a subscription, with an allowance of its own."""
        self._held_bytes = 0
        return event

    async def view(self, job_id: str) -> JobView:
        """Reads a job whole. Raises: NotFound. TooLarge: the results of this reply would take too much memory."""
        return await self.shown(await load(clean(job_id, "id"), self.api, self.caller))

    async def shown(self, job: Job) -> JobView:
        """The whole view of a job that was read with its result and attempts. Raises: TooLarge."""
        size = 0 if job.result is None else job.result.body.bytes or len(job.result.body.text or "")
        if self._held_bytes and self._held_bytes + size > MOST_RESULT_BYTES:
            message = (
                f"The results of one reply may have {MOST_RESULT_BYTES} bytes; ask for fewer, or GET /v1/jobs/{job.id}"
            )
            raise TooLarge(message, code="results_too_large")
        self._held_bytes += size
        return await view_of(job, self.api.services.blobs)


Info: TypeAlias = strawberry.Info[Operation, None]


def clean(text: str, param: str) -> str:
    """A text that a store can look for. Raises: RequestError."""
    if "\0" in text:
        raise RequestError(f"{param}: a text has no NUL character", param=param)
    return text
