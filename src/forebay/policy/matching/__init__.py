"""Matching: event patterns as EventBridge has them, SNS filter policies, and thousands of rules at once."""

from forebay.policy.matching.filters import FilterPolicy
from forebay.policy.matching.patterns import EventPattern
from forebay.policy.matching.rule_set import RuleSet

__all__ = ["EventPattern", "FilterPolicy", "RuleSet"]
