"""Documentation that can be wrong is tested like code."""

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
DECISIONS = sorted((REPOSITORY / "docs/decisions").glob("*.md"))


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[ ;]", requirement)[0] for requirement in requirements}


def test_every_dependency_has_its_line() -> None:
    documented = (REPOSITORY / "docs/dependencies.md").read_text()
    extras = [
        one for group in PROJECT["optional-dependencies"].values() for one in group if not one.startswith("forebay")
    ]
    for name in _names(PROJECT["dependencies"]) | _names(extras):
        assert f"| {name} |" in documented, f"docs/dependencies.md has no line for {name}"


def test_every_documented_dependency_is_one() -> None:
    table = (REPOSITORY / "docs/dependencies.md").read_text().split("## Extras")[0]
    documented = set(re.findall(r"^\| ([a-z0-9.-]+) \| ", table, flags=re.MULTILINE)) - {"package"}
    assert documented == _names(PROJECT["dependencies"])


def test_every_make_task_of_the_readme_exists() -> None:
    tasks = set(re.findall(r"^([a-z]+):.*##", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z]+)", (REPOSITORY / "README.md").read_text())) <= tasks
    assert {"help", "setup", "demo", "dev", "check", "test", "bench"} <= tasks


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_has_context_decision_and_consequences(path: Path) -> None:
    text = path.read_text()
    for part in ("Context", "Decision", "Consequences"):
        assert part in text


def test_decisions_are_numbered_without_a_gap_or_a_double() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))


def test_links_in_the_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", (REPOSITORY / "README.md").read_text()):
        assert (REPOSITORY / link).exists(), link


def test_the_changelog_has_the_version_or_what_is_unreleased() -> None:
    changes = (REPOSITORY / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changes or f"## [{PROJECT['version']}]" in changes
