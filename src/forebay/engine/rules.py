"""Rules: those of the configuration and of a tenant's records, compiled together and read again when they changed."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from forebay.domain.errors import Conflict, NotFound, RequestError, VersionConflict
from forebay.domain.rule import RULE, RULES_CHANGED, Rule, RuleData, rule_data
from forebay.domain.stored import StoredRecord
from forebay.policy.matching import EventPattern, RuleSet
from forebay.policy.rules import read_rule
from forebay.ports import Clock, RecordStore

log = structlog.get_logger(__name__)
KNOWN_SECONDS = 1.0  # how old a process's knowledge of a tenant's rules may be
MOST_RULES = 100_000  # of a tenant
MOST_TENANTS = 10_000
PAGE = 1000
_CHANGES = "changes"  # the id of the one record
_TRIES = 10  # of a change that others are making too


class TenantRules:
    """A tenant's rules as they were at one time."""

    def __init__(self, rules: Sequence[Rule], version: int) -> None:
        self.version = version
        self.rules = {rule.name: rule for rule in rules}
        self._set = RuleSet((rule.name, EventPattern(rule.pattern)) for rule in rules if rule.is_enabled)
        self._when = {
            (rule.name, branch.name): EventPattern(branch.when)
            for rule in rules
            for branch in rule.send
            if branch.when is not None
        }

    def matching(self, event: Mapping[str, Any] | str | bytes) -> list[Rule]:
        """The rules that an event matches, each with those of its entries that take it."""
        found = [self._taking(self.rules[name], event) for name in self._set.matching(event)]
        return [rule for rule in found if rule.send]

    def _taking(self, rule: Rule, event: Mapping[str, Any] | str | bytes) -> Rule:
        send = tuple(
            branch for branch in rule.send if branch.when is None or self._when[rule.name, branch.name].matches(event)
        )
        return rule if len(send) == len(rule.send) else msgspec.structs.replace(rule, send=send)


class Rules:
    """All tenants' rules. Without records there are those of the configuration alone, which hold for every tenant."""

    def __init__(
        self, records: RecordStore | None = None, clock: Clock | None = None, configured: Sequence[Rule] = ()
    ) -> None:
        self.configured = {rule.name: rule for rule in configured}
        self._records = records
        self._clock = clock
        self._known: dict[str, tuple[float, TenantRules]] = {}

    async def of(self, tenant: str) -> TenantRules:
        """The tenant's rules, a second old at most; a change made in this process is known at once."""
        if self._records is None or self._clock is None:
            return TenantRules(tuple(self.configured.values()), 0)
        now, known = self._clock.now(), self._known.get(tenant)
        if known is not None and 0 <= now - known[0] < KNOWN_SECONDS:
            return known[1]
        changes = await self._records.get(tenant, RULES_CHANGED, _CHANGES)
        version = changes.version if changes else 0
        rules = known[1] if known is not None and known[1].version == version else await self._load(tenant, version)
        if len(self._known) >= MOST_TENANTS:
            self._known.clear()
        self._known[tenant] = (now, rules)
        return rules

    async def put(self, tenant: str, rule: Rule, *, is_new: bool) -> StoredRecord:
        """Creates or replaces a rule. Raises: Conflict: it is the configuration's, or (``is_new``) it exists."""
        records = self._writable(rule.name)
        for _ in range(_TRIES):
            old = await records.get(tenant, RULE, rule.name)
            if old is not None and is_new:
                raise Conflict(f"There is a rule {rule.name!r} already", param="name")
            data = msgspec.json.encode(RuleData(source=rule.source, is_enabled=rule.is_enabled)).decode()
            record = StoredRecord(kind=RULE, id=rule.name, tenant=tenant, data=data, created_at=self._now())
            if old is not None:
                record = msgspec.structs.replace(record, version=old.version, created_at=old.created_at)
            with contextlib.suppress(VersionConflict):
                stored = await records.put(record)
                await self._note_change(tenant, records)
                return stored
        raise Conflict(f"The rule {rule.name!r} is being changed by others", param="name")

    async def delete(self, tenant: str, name: str) -> None:
        """Raises: NotFound; Conflict: it is the configuration's."""
        records = self._writable(name)
        if not await records.delete(tenant, RULE, name):
            raise no_rule(name)
        await self._note_change(tenant, records)

    async def record(self, tenant: str, name: str) -> StoredRecord:
        """Raises: NotFound."""
        found = None if self._records is None else await self._records.get(tenant, RULE, name)
        if found is None:
            raise no_rule(name)
        return found

    async def _load(self, tenant: str, version: int) -> TenantRules:
        rules = list(self.configured.values())
        after: str | None = None
        while self._records is not None and len(rules) < MOST_RULES:
            page = await self._records.list(tenant, RULE, after=after, limit=PAGE)
            rules += [rule for record in page if (rule := rule_of(record)) is not None]
            if len(page) < PAGE:
                break
            after = page[-1].id
        return TenantRules(rules, version)

    async def _note_change(self, tenant: str, records: RecordStore) -> None:
        """After the change: who reads the rules before it reads them again."""
        for _ in range(_TRIES):
            old = await records.get(tenant, RULES_CHANGED, _CHANGES)
            record = StoredRecord(kind=RULES_CHANGED, id=_CHANGES, tenant=tenant, created_at=self._now())
            with contextlib.suppress(VersionConflict):
                await records.put(msgspec.structs.replace(record, version=old.version if old else 0))
                break
        self._known.pop(tenant, None)

    def _writable(self, name: str) -> RecordStore:
        if name in self.configured:
            raise Conflict(f"The rule {name!r} stands in the configuration: change it there", param="name")
        if self._records is None:
            raise RequestError("Rules can't be kept here", code="not_supported")
        return self._records

    def _now(self) -> float:
        return 0.0 if self._clock is None else self._clock.now()


def rule_of(record: StoredRecord) -> Rule | None:
    """The rule of a record; None if this version can't read it, which the log tells."""
    data = rule_data(record)
    try:
        rule = read_rule(data.source, record.id)
    except RequestError as error:
        log.warning("rule_unreadable", rule=record.id, reason=error.message)
        return None
    return msgspec.structs.replace(rule, is_enabled=data.is_enabled)


def no_rule(name: str) -> NotFound:
    return NotFound(f"There is no rule {name!r}", param="name")
