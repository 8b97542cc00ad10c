"""A pipeline's run as the client hands it out."""

from typing import Any

from forebay.client.views import ErrorView, UsageView, View


class RecordsView(View, frozen=True, kw_only=True, rename={"entered": "in"}):
    """How many records a step took in, and what came of them."""

    entered: int = 0
    succeeded: int = 0
    failed: int = 0
    reused: int = 0


class StepView(View, frozen=True, kw_only=True):
    """One step. ``output``: ``table``, ``value``, ``files``, ``sources``, ``rejected``."""

    status: str
    kind: str = ""
    records: RecordsView = RecordsView()
    usage: UsageView | None = None
    cost_usd: float | None = None
    output: dict[str, Any] | None = None
    error: ErrorView | None = None
    from_run: str | None = None
    started_at: float | None = None
    finished_at: float | None = None


class RunView(View, frozen=True, kw_only=True):
    """A run. Times are Unix seconds."""

    id: str
    pipeline: str
    status: str
    trigger: dict[str, Any] = {}
    params: dict[str, Any] = {}
    steps: dict[str, StepView] = {}
    usage: UsageView | None = None
    cost_usd: float | None = None
    error: ErrorView | None = None
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None

    @property
    def is_terminal(self) -> bool:
        return self.status in {"succeeded", "failed", "cancelled"}
