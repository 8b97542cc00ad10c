"""Triggers in the configuration: what is wrong with one is told with its line."""

from pathlib import Path
from textwrap import indent

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.settings import load_settings


def problem(folder: Path, text: str) -> str:
    config = folder / "forebay.yaml"
    config.write_text(f"pipelines:\n{indent(text, '  ')}")
    with pytest.raises(ConfigurationError) as refused:
        load_settings(config, {})
    return str(refused.value)


def test_a_wrong_trigger_is_told_with_its_line(tmp_path: Path) -> None:
    said = problem(
        tmp_path,
        """weekly:
  on:
    - {rate: 1h}
    - cron: "0 2 * *"
      timezone: Europe/Berlin
  steps:
    load: {read: a.csv}
""",
    )
    assert "line 5" in said
    assert "no cron expression" in said


def test_a_wrong_window_is_told_with_its_line(tmp_path: Path) -> None:
    said = problem(
        tmp_path,
        """weekly:
  steps:
    load:
      read: a.csv
      windows:
        - "22:00-06:00"
        - "22-6"
""",
    )
    assert "line 8" in said
    assert "no window" in said


def test_two_schedules_of_one_name_are_refused(tmp_path: Path) -> None:
    said = problem(
        tmp_path,
        """one: {on: {rate: 1h, name: daily}, steps: {load: {read: a.csv}}}
two:
  on:
    - {rate: 2h, name: other}
    - {rate: 1h, name: daily}
  steps: {load: {read: a.csv}}
""",
    )
    assert "line 6" in said
    assert "'one' has a trigger 'daily' already" in said
