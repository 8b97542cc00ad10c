"""What events and rules look like in replies."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from forebay.api.paging import Page
from forebay.domain.rule import EventData, Rule
from forebay.domain.stored import StoredRecord


class MatchedView(msgspec.Struct, kw_only=True):
    """A rule that matched and its fan-out, or a pipeline's trigger and its run."""

    rule: str
    job_id: str


class RefusalView(msgspec.Struct, kw_only=True):
    """Why an event was refused."""

    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str


class ReceiptView(msgspec.Struct, kw_only=True):
    """What came of one event: ``id`` and ``matched``, or ``error``."""

    id: str | UnsetType = UNSET
    matched: list[MatchedView] | UnsetType = UNSET
    error: RefusalView | UnsetType = UNSET


class ReceiptList(msgspec.Struct, kw_only=True):
    """One entry an event, in their order."""

    object: str = "list"
    data: list[ReceiptView]


class EventView(msgspec.Struct, kw_only=True):
    """A kept event. ``record_id`` is what pages and replays name it by."""

    record_id: str
    object: str = "event"
    id: str
    source: str
    type: str
    received_at: float
    matched: list[MatchedView]


class EventList(Page[EventView], kw_only=True):
    """A page of events, newest first."""

    named_by = "record_id"


class RuleView(msgspec.Struct, kw_only=True):
    """A rule as it was written. ``origin``: ``file`` ones are changed in the configuration alone."""

    name: str
    object: str = "rule"
    enabled: bool
    origin: Annotated[str, Meta(extra_json_schema={"enum": ["file", "api"]})]
    version: int
    created_at: float | None
    pattern: Any
    send: Any
    join: Any
    deadline: Any
    on_failure: str
    aggregate: Any
    budget_usd: float | None
    notify: Annotated[Any, Meta(description="Of the configuration's rules not shown")]


class RuleList(Page[RuleView], kw_only=True):
    """All rules: the configuration's first."""

    named_by = "name"


class DeletedRule(msgspec.Struct, kw_only=True):
    """A rule that is gone."""

    name: str
    object: str = "rule"
    deleted: bool = True


class SentView(msgspec.Struct, kw_only=True):
    """What an entry would send, or why it could not."""

    target: str | None = None
    targets: list[str] | None = None
    model: str | None = None
    endpoint: str | None = None
    body: Any = None
    error: RefusalView | None = None


class TriedRule(msgspec.Struct, kw_only=True):
    """A rule that the event matches, and what it would send."""

    rule: str
    send: dict[str, SentView]


class TestView(msgspec.Struct, kw_only=True):
    """``matched``: whether the pattern given, or any rule, matches."""

    matched: bool
    rules: list[TriedRule]


def event_view(record: StoredRecord, data: EventData) -> EventView:
    return EventView(
        record_id=record.id,
        id=data.event_id,
        source=data.source,
        type=data.type,
        received_at=data.received_at,
        matched=[MatchedView(rule=one.rule, job_id=one.job_id) for one in data.matched],
    )


def rule_view(rule: Rule, record: StoredRecord | None = None) -> RuleView:
    """``record``: None of the configuration's rules."""
    source = rule.source
    return RuleView(
        name=rule.name,
        enabled=rule.is_enabled,
        origin="file" if record is None else "api",
        version=0 if record is None else record.version,
        created_at=None if record is None else record.created_at,
        pattern=rule.pattern,
        send=source.get("send"),
        join=source.get("join", "all"),
        deadline=source.get("deadline"),
        on_failure=rule.on_failure,
        aggregate=source.get("aggregate", "collect"),
        budget_usd=rule.budget_usd,
        notify=None if record is None else source.get("notify"),
    )
