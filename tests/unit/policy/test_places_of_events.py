"""Paths of steps in runs that an event began: what it says comes in through parameters alone."""

from typing import Any

import pytest

from forebay.domain.errors import RequestError
from forebay.policy.steps.places import render_place


def scope(kind: str, detail: Any, **params: Any) -> dict[str, Any]:
    return {"run": {"trigger": {"type": kind, "name": "x", "detail": detail}}, "params": params}


@pytest.mark.parametrize("template", ["{run.trigger.detail.detail.file}", "out/{run.trigger.detail.id}.csv"])
def test_a_path_takes_nothing_from_an_event(template: str) -> None:
    event = {"id": "../../x", "detail": {"file": "/etc/passwd"}}
    with pytest.raises(RequestError, match="through a parameter"):
        render_place(template, scope("event", event))


def test_a_parameter_taken_from_an_event_stays_below_its_folder() -> None:
    assert render_place("in/{params.file}", scope("event", {}, file="a.csv")) == "in/a.csv"
    with pytest.raises(RequestError, match="leads out"):
        render_place("in/{params.file}", scope("event", {}, file="../a.csv"))


def test_a_path_takes_what_a_file_is_called() -> None:
    assert render_place("{run.trigger.detail.path}", scope("files", {"path": "inbox/a.csv"})) == "inbox/a.csv"


def test_a_path_takes_the_triggers_name_whatever_it_is() -> None:
    assert render_place("out/{run.trigger.name}", scope("event", {})) == "out/x"
