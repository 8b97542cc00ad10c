"""What the commands share: exit codes, sentences, numbers for people."""

import pytest
import typer

from forebay.cli.failures import exit_code_of, sentence
from forebay.cli.progress import line, short
from forebay.cli.run import parameters
from forebay.domain.attempt import Usage
from forebay.domain.errors import (
    ConfigurationError,
    Conflict,
    Interrupted,
    NotFound,
    RequestError,
    StoreRefused,
    StoreUnavailable,
)
from forebay.runs.progress import Pace, Standing


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("x"), 2),
        (StoreRefused("x"), 2),
        (RequestError("x"), 2),
        (typer.BadParameter("x"), 2),
        (NotFound("x"), 1),
        (Conflict("x"), 1),
        (Interrupted("x"), 1),
        (StoreUnavailable("x"), 1),
        (OSError("x"), 1),
        (RuntimeError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_failure_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code


def test_a_failure_of_the_system_names_its_file() -> None:
    assert sentence(FileNotFoundError(2, "No such file or directory", "a.csv")) == "a.csv: No such file or directory"


def test_parameters_are_json_or_else_text() -> None:
    assert parameters(["a=0.5", "b=x=y", 'c={"d": [1]}', "e=true"]) == {
        "a": 0.5,
        "b": "x=y",
        "c": {"d": [1]},
        "e": True,
    }
    with pytest.raises(ConfigurationError):
        parameters(["a"])


def test_progress_in_one_line() -> None:
    standing = Standing(
        total=2000,
        succeeded=809,
        failed=3,
        usage=Usage(input_tokens=80_100, output_tokens=950),
        cost_usd=0.0123,
        rate=41.2,
        remaining_seconds=29.4,
    )
    assert line(standing) == "812/2,000 · 3 failed · 41.2/s · 80.1k → 950 tok · $0.0123 · 0:00:29 left"


@pytest.mark.parametrize(("number", "shown"), [(0, "0"), (999, "999"), (1000, "1.0k"), (3_200_000, "3.2M")])
def test_numbers_are_short(number: int, shown: str) -> None:
    assert short(number) == shown


def test_the_pace_is_unknown_before_anything_moved() -> None:
    pace = Pace()
    assert pace.rate(5) is None
    assert pace.rate(5) is None
    rate = pace.rate(6)
    assert rate is not None
    assert rate > 0
