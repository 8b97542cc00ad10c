"""``rules`` of the configuration, told with the lines where they are wrong."""

from pathlib import Path

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.domain.fanout import How
from forebay.settings import Settings, load_settings

TARGETS = """
targets:
  gpt: {type: openai, base_url: "http://127.0.0.1:1/v1", models: [m]}
"""
RULES = """
rules:
  - name: launch
    pattern: {source: [shop], detail: {price: [{numeric: [">", 100]}]}}
    send:
      copy: {target: gpt, body: {model: m, text: "for {detail.name}"}, timeout: 30s, when: {detail: {name: [lamp]}}}
    join: first
    deadline: 15m
    on_failure: fail
    aggregate: {vote: "label"}
    budget_usd: 2
"""


def _loaded(folder: Path, text: str) -> Settings:
    (folder / "forebay.yaml").write_text(TARGETS + text)
    return load_settings(folder / "forebay.yaml", {})


def test_a_rule_is_read_whole(tmp_path: Path) -> None:
    [rule] = _loaded(tmp_path, RULES).rules
    assert (rule.name, rule.successes, rule.deadline_seconds, rule.budget_usd) == ("launch", 1, 900, 2)
    assert (rule.aggregation.how, rule.aggregation.path, rule.on_failure) == (How.VOTE, "label", "fail")
    assert (rule.send[0].name, rule.send[0].timeout_seconds) == ("copy", 30)
    assert rule.pattern["detail"]["price"] == [{"numeric": [">", 100]}]


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("numeric", "nummeric"), 7, "'nummeric' is no match type"),
        (("target: gpt", "target: gtp"), 9, "did you mean 'gpt'"),
        (("join: first", "join: soon"), 10, "all, first or"),
        (("deadline: 15m", "dedline: 15m"), 11, "did you mean 'deadline'"),
        (('{vote: "label"}', "{vote: 5}"), 13, "aggregate.vote"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_line(tmp_path: Path, change: tuple[str, str], line: int, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _loaded(tmp_path, RULES.replace(*change))
    assert f"line {line}:" in str(caught.value)
    assert words in str(caught.value)


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="stands twice"):
        _loaded(tmp_path, RULES + RULES.partition("rules:\n")[2])
