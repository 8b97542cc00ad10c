"""Patterns: the event triggers of the configured pipelines, compiled together."""

from collections.abc import Iterable

from forebay.domain.pipeline import Pipeline, Trigger, TriggerType
from forebay.policy.matching import EventPattern, RuleSet


class EventTriggers:
    """The event triggers of some pipelines, compiled together."""

    def __init__(self, pipelines: Iterable[Pipeline] = ()) -> None:
        self._triggers = {
            trigger.name: (pipeline, trigger)
            for pipeline in pipelines
            for trigger in pipeline.triggers
            if trigger.type is TriggerType.EVENT
        }
        self._set = RuleSet((name, EventPattern(trigger.pattern)) for name, (_, trigger) in self._triggers.items())

    def matching(self, text: str) -> list[tuple[Pipeline, Trigger]]:
        """The triggers that an event matches, each with its pipeline."""
        return [self._triggers[name] for name in self._set.matching(text)] if self._triggers else []
