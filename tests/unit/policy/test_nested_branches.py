"""Entries and children that take every field of a request: as they are read."""

from typing import Any

import pytest

from forebay.domain.errors import NotSupported, RequestError
from forebay.domain.fanout import OnFailure
from forebay.domain.function import Spawn
from forebay.domain.job import OnUnknown
from forebay.domain.rule import Rule
from forebay.domain.webhook import Include
from forebay.policy.moments import Moment, read_moment
from forebay.policy.rules import read_rule
from forebay.policy.spawning import read_spawn

DAY_2026 = 1_793_577_600.0  # 2026-11-02T00:00:00Z


def rule(entry: dict[str, Any], **members: Any) -> Rule:
    body = {"body": {"model": "m"}, **entry}
    return read_rule({"name": "r", "pattern": {"source": ["s"]}, "send": {"one": body}, **members})


def test_an_entry_may_go_to_several_targets_with_what_it_says_of_all() -> None:
    entry = {"targets": ["a", "b/x", "a"], "join": "first", "max_attempts": 2, "timeout": "5s", "on_unknown": "hold"}
    [branch] = rule(entry).send
    assert branch.fanout is not None
    assert branch.fanout.successes == 1
    assert branch.fanout.on_failure is OnFailure.PARTIAL
    assert [(one.name, one.target, one.model) for one in branch.fanout.branches] == [
        ("a", "a", None),
        ("b/x", "b", "x"),
        ("a-2", "a", None),
    ]
    assert {(one.max_attempts, one.timeout_seconds, one.on_unknown) for one in branch.fanout.branches} == {
        (2, 5.0, OnUnknown.HOLD)
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Moment()),
        ("15m", Moment(after_seconds=900)),
        ("2026-11-02T00:00:00Z", Moment(at=DAY_2026)),
        ("2026-11-02T01:00:00+01:00", Moment(at=DAY_2026)),
        (DAY_2026, Moment(at=DAY_2026)),
        (90, Moment(after_seconds=90)),
    ],
)
def test_times_come_as_durations_or_as_moments(value: Any, expected: Moment) -> None:
    assert read_moment(value, "x", shortest_time=1e8) == expected
    [branch] = rule({"target": "a", "not_before": value, "deadline": value}).send
    assert Moment(branch.not_before, branch.not_before_seconds) == expected
    assert Moment(branch.deadline, branch.deadline_seconds) == expected


@pytest.mark.parametrize("value", ["soon", "2026-11-02T00:00:00", 0, -1, True, 1e12, [], "9999-99-99T00:00:00Z"])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(RequestError) as caught:
        rule({"target": "a", "not_before": value})
    assert caught.value.param == "send.one.not_before"


def test_a_rule_may_tell_of_its_fan_outs_end() -> None:
    notify = {"webhook": "https://example.com/hook", "include": "job", "events": ["job.failed", "job.failed"]}
    told = rule({"target": "a"}, notify=notify).notify
    assert told is not None
    assert (told.url, told.include, told.events) == ("https://example.com/hook", Include.JOB, ("job.failed",))
    assert rule({"target": "a"}).notify is None


@pytest.mark.parametrize(
    ("entry", "members", "param"),
    [
        ({"targets": ["a"], "target": "b"}, {}, "send.one.targets"),
        ({"targets": []}, {}, "send.one.targets"),
        ({"targets": "a"}, {}, "send.one.targets"),
        ({"targets": ["a\0"]}, {}, "send.one.targets"),
        ({"target": "a", "join": "first"}, {}, "send.one.join"),
        ({"targets": ["a"], "join": {"successes": 2}}, {}, "send.one.join.successes"),
        ({"targets": ["a"] * 1000}, {}, "send"),
        ({"target": "a"}, {"notify": {"url": "x"}}, "notify.url"),
        ({"target": "a"}, {"notify": {}}, "notify.webhook"),
        ({"target": "a"}, {"notify": {"webhook": "x", "events": ["run.failed"]}}, "notify.events"),
        ({"target": "a"}, {"aggregate": {"target": "j", "targets": ["a"], "body": {}}}, "aggregate.targets"),
    ],
)
def test_what_can_not_be_acted_on_is_refused_with_its_place(
    entry: dict[str, Any], members: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        rule(entry, **members)
    assert caught.value.param == param


@pytest.mark.parametrize("name", ["notify", "idempotency_key", "data_class"])
def test_what_a_part_can_not_have_is_refused_and_says_where_it_belongs(name: str) -> None:
    with pytest.raises(NotSupported) as caught:
        rule({"target": "a", name: "x"})
    assert caught.value.param == f"send.one.{name}"
    with pytest.raises(NotSupported) as caught:
        read_spawn(Spawn([{"target": "a", "body": {}, name: "x"}]))
    assert caught.value.param == f"children[0].{name}"


def test_a_child_may_be_a_fan_out_and_may_wait() -> None:
    child = {"targets": ["a", "b"], "join": {"successes": 1}, "body": {}, "not_before": "1h", "deadline": DAY_2026}
    [part] = read_spawn(Spawn([child])).parts
    assert (part.name, part.not_before_seconds, part.deadline_seconds, part.order.deadline) == (
        "a+b",
        3600,
        None,
        DAY_2026,
    )
    assert part.order.fanout is not None
    assert (part.order.fanout.names, part.order.fanout.successes) == (("a", "b"), 1)


@pytest.mark.parametrize(
    ("child", "param"),
    [
        ({"targets": ["a"], "target": "b"}, "children[0].targets"),
        ({"targets": [""]}, "children[0].targets"),
        ({"target": "a", "join": "all"}, "children[0].join"),
        ({"targets": ["a"], "join": {"successes": 2}}, "children[0].join.successes"),
        ({"target": "a", "not_before": "soon"}, "children[0].not_before"),
    ],
)
def test_a_child_that_can_not_be_acted_on_is_refused_with_its_place(child: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_spawn(Spawn([{"body": {}, **child}]))
    assert caught.value.param == param
