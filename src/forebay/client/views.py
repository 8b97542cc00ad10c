"""What the client hands out: the server's views as typed records. Fields that a newer server adds are left out."""

from typing import Any

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all views."""


class ErrorView(View, frozen=True, kw_only=True):
    """Why a job failed."""

    code: str
    message: str


class ResultView(View, frozen=True, kw_only=True):
    """The model's answer: its HTTP status and decoded JSON body. ``branches``: of a fan-out whose body is not its
    entries (`first`, `vote`, `merge`, a judge), its entries by name.
    """

    status_code: int | None = None
    body: Any = None
    branches: dict[str, Any] | None = None


class UsageView(View, frozen=True, kw_only=True):
    """Tokens."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0


class AttemptView(View, frozen=True, kw_only=True):
    """One call, as the ledger has it."""

    number: int
    target: str
    outcome: str
    model: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    status_code: int | None = None
    error: str | None = None
    retry_at: float | None = None
    usage: UsageView | None = None
    cost_usd: float | None = None


class JobView(View, frozen=True, kw_only=True):
    """A job. Times are Unix seconds."""

    id: str
    status: str
    kind: str = "infer"
    target: str | None = None
    model: str | None = None
    endpoint: str | None = None
    parent_id: str | None = None
    priority: int = 0
    metadata: dict[str, str] = {}
    created_at: float = 0.0
    not_before: float | None = None
    deadline: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    result: ResultView | None = None
    error: ErrorView | None = None
    usage: UsageView | None = None
    cost_usd: float | None = None
    attempt_count: int = 0
    attempts: list[AttemptView] = []

    @property
    def is_terminal(self) -> bool:
        return self.status in {"succeeded", "failed", "cancelled"}


class FileView(View, frozen=True, kw_only=True):
    """A file, in OpenAI's shape."""

    id: str
    bytes: int = 0
    created_at: int = 0
    filename: str = ""
    purpose: str = ""
    status: str | None = None
    expires_at: int | None = None


class CountsView(View, frozen=True, kw_only=True):
    """How a batch stands."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchView(View, frozen=True, kw_only=True):
    """A batch, in OpenAI's shape."""

    id: str
    status: str
    endpoint: str = ""
    input_file_id: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    completion_window: str = ""
    created_at: int = 0
    expires_at: int | None = None
    completed_at: int | None = None
    request_counts: CountsView | None = None
    usage: dict[str, Any] | None = None
    errors: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None

    @property
    def is_terminal(self) -> bool:
        return self.status in {"completed", "failed", "expired", "cancelled"}


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list, before its items are decoded."""

    data: list[msgspec.Raw]
    has_more: bool = False


class MatchedView(View, frozen=True, kw_only=True):
    """A rule that an event matched, and its fan-out."""

    rule: str
    job_id: str


class RefusalView(View, frozen=True, kw_only=True):
    """Why an event was refused."""

    message: str
    code: str
    param: str | None = None


class ReceiptView(View, frozen=True, kw_only=True):
    """What came of one event."""

    id: str | None = None
    matched: list[MatchedView] = []
    error: RefusalView | None = None


class EventView(View, frozen=True, kw_only=True):
    """A kept event. ``record_id`` is what replays name it by."""

    record_id: str
    id: str
    source: str
    type: str
    received_at: float
    matched: list[MatchedView] = []
