"""Order: one model request as a client asks for it, parsed and bounded, before a target was chosen for it."""

from forebay.domain.fanout import FanoutArgs
from forebay.domain.job import Notice, OnUnknown
from forebay.domain.record import Record
from forebay.domain.webhook import JobWebhook


class Order(Record, frozen=True, kw_only=True):
    """The fields of ``POST /v1/jobs``, and what the way in adds: whether a client waits, under which key it is."""

    body: str  # JSON text, verbatim
    target: str | None = None
    model: str | None = None  # else `body.model`
    endpoint: str | None = None
    priority: int = 0
    not_before: float | None = None
    deadline: float | None = None  # Unix seconds; None: the default deadline after not_before or now
    timeout_seconds: float | None = None
    max_attempts: int = 5
    on_unknown: OnUnknown = OnUnknown.RETRY
    budget_usd: float | None = None
    metadata: dict[str, str] = {}
    data_class: str | None = None
    is_stream: bool = False
    awaited: bool = False
    key: str = ""
    fingerprint: str = ""
    origin: str = ""
    args: str | None = None  # JSON for the infer handler: `{"schema": {…}}`
    keep_call: bool = False
    parent_id: str = ""
    fanout: FanoutArgs | None = None  # to several targets at once
    on_end: tuple[Notice, ...] = ()
    notify: JobWebhook | None = None
    hops: int = 0  # events that led here
