"""The entries of ``on``: read, named, and refused with the member that is wrong."""

from typing import Any

import pytest

from forebay.domain.errors import RequestError
from forebay.domain.pipeline import Trigger, TriggerType
from forebay.policy.triggers import read_triggers


def test_every_type_is_read() -> None:
    found = read_triggers(
        [
            {"cron": "0 2 * * 1", "timezone": "Europe/Berlin", "window": "30m"},
            {"rate": "1h30m", "name": "often", "params": {"full": False}},
            {"at": "2026-12-24T18:00:00+01:00"},
            {"files": "s3://bucket/inbox/*.csv"},
            {"event": {"source": ["crm"]}},
        ],
        "weekly",
    )
    assert found == (
        Trigger(
            name="weekly", type=TriggerType.CRON, cron="0 2 * * 1", timezone="Europe/Berlin", window_seconds=1800.0
        ),
        Trigger(name="often", type=TriggerType.RATE, every_seconds=5400.0, params={"full": False}),
        Trigger(name="weekly-2", type=TriggerType.AT, at=1798131600.0),
        Trigger(name="weekly-3", type=TriggerType.FILES, files="s3://bucket/inbox/*.csv"),
        Trigger(name="weekly-4", type=TriggerType.EVENT, pattern={"source": ["crm"]}),
    )


def test_one_entry_needs_no_list_and_none_is_by_hand() -> None:
    assert read_triggers({"rate": 60}, "p")[0].every_seconds == 60.0
    assert read_triggers(None, "p") == ()
    assert read_triggers([], "p") == ()


def test_a_time_without_an_offset_is_of_its_zone() -> None:
    [berlin] = read_triggers({"at": "2026-12-24T18:00:00", "timezone": "Europe/Berlin"}, "p")
    [utc] = read_triggers({"at": "2026-12-24T17:00:00"}, "p")
    assert berlin.at == utc.at == 1798131600.0


@pytest.mark.parametrize(
    ("entry", "param"),
    [
        ({"corn": "0 2 * * 1"}, "on[0].corn"),
        ({}, "on[0]"),
        ({"cron": "0 2 * * 1", "rate": "1h"}, "on[0].rate"),
        ({"cron": "0 2 * *"}, "on[0].cron"),
        ({"cron": "0 2 * * *", "timezone": "Europe/Berlinn"}, "on[0].timezone"),
        ({"rate": "0s"}, "on[0].rate"),
        ({"rate": "often"}, "on[0].rate"),
        ({"rate": True}, "on[0].rate"),
        ({"at": "tomorrow"}, "on[0].at"),
        ({"at": -5}, "on[0].at"),
        ({"at": []}, "on[0].at"),
        ({"files": "https://example.com/*.csv"}, "on[0].files"),
        ({"files": "s3://"}, "on[0].files"),
        ({"files": ""}, "on[0].files"),
        ({"files": "in/*.csv", "window": "5m"}, "on[0].window"),
        ({"event": "crm"}, "on[0].event"),
        ({"event": {"source": "crm"}}, "on[0].event"),
        ({"rate": "1h", "window": "1h"}, "on[0].window"),
        ({"cron": "0 2 * * *", "window": "2d"}, "on[0].window"),
        ({"rate": "1h", "name": "a/b"}, "on[0].name"),
        ({"rate": "1h", "name": 5}, "on[0].name"),
        ({"rate": "1h", "params": [1]}, "on[0].params"),
        ("0 2 * * 1", "on[0]"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(entry: Any, param: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_triggers([entry], "p")
    assert refused.value.param == param


def test_a_mistyped_key_is_answered_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'cron'"):
        read_triggers({"corn": "0 2 * * 1"}, "p")


def test_a_name_stands_once() -> None:
    with pytest.raises(RequestError, match="stands twice") as refused:
        read_triggers([{"rate": "1h"}, {"rate": "2h", "name": "p"}], "p")
    assert refused.value.param == "on[1].name"


@pytest.mark.parametrize("raw", ["daily", 5, [{"rate": "1h"}] * 101])
def test_what_is_no_list_of_triggers_is_refused(raw: Any) -> None:
    with pytest.raises(RequestError):
        read_triggers(raw, "p")
