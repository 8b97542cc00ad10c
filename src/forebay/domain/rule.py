"""Rule: which events go to which targets, and how their answers become one. Of the configuration, or a record."""

from typing import Any

import msgspec

from forebay.domain.fanout import Aggregation, Branch, OnFailure
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import JobWebhook

RULE = "rule"  # the kind of its records; their ids are the rules' names
RULES_CHANGED = "rules_changed"  # of one record a tenant, whose version grows with every change of its rules
EVENT = "event"  # of received events
EVENT_KEY = "event_key"  # of what tells a repeated event


class RuleBranch(Branch, frozen=True, kw_only=True):
    """An entry of ``send``. ``when``: a pattern of its own, that the event must match too."""

    when: Any = None


class Rule(Record, frozen=True, kw_only=True):
    """One rule. ``version`` counts its changes; ``source`` is what it was made of, as it was written."""

    name: str
    pattern: Any
    send: tuple[RuleBranch, ...]
    successes: int | None = None
    deadline_seconds: float | None = None
    on_failure: OnFailure = OnFailure.PARTIAL
    aggregation: Aggregation = Aggregation()
    budget_usd: float | None = None
    notify: JobWebhook | None = None
    is_enabled: bool = True
    source: dict[str, Any] = {}


class Matched(Record, frozen=True, kw_only=True):
    """A rule that an event matched, or a pipeline's trigger, and the job that it made."""

    rule: str
    job_id: str


class EventData(Record, frozen=True, kw_only=True):
    """``data`` of a received event. ``is_matched`` is a text because records are found by texts. ``body`` or
    ``blob_id``: the event as rules saw it.
    """

    source: str
    event_id: str
    type: str
    received_at: float
    matched: tuple[Matched, ...] = ()
    is_matched: str = "false"
    hops: int = 0
    body: str | None = None
    blob_id: str | None = None


class EventKey(Record, frozen=True, kw_only=True):
    """``data`` of what tells a repeated event: the record that it has, and the hash of what was sent."""

    record_id: str
    digest: str


class RuleData(Record, frozen=True, kw_only=True):
    """``data`` of a rule's record: the rule as it was written, and whether it acts."""

    source: dict[str, Any]
    is_enabled: bool = True


_RULE = msgspec.json.Decoder(RuleData)
_EVENT = msgspec.json.Decoder(EventData)
_KEY = msgspec.json.Decoder(EventKey)


def event_data(record: StoredRecord) -> EventData:
    return _EVENT.decode(record.data)


def event_key(record: StoredRecord) -> EventKey:
    return _KEY.decode(record.data)


def rule_data(record: StoredRecord) -> RuleData:
    return _RULE.decode(record.data)
