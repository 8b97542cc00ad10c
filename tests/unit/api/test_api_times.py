"""Times as clients write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.api.times import LAST_SECOND, read_duration, read_time, rfc3339
from forebay.domain.errors import RequestError

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_800_000_060, NOW + 60),
        (1_800_000_000.5, NOW + 0.5),
        ("15m", NOW + 900),
        ("1h30m", NOW + 5400),
        ("500ms", NOW + 0.5),
        ("2d", NOW + 172_800),
        ("1.5h", NOW + 5400),
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15T09:00:00+01:00", NOW),
    ],
)
def test_a_time_is_unix_seconds_or_rfc3339_or_a_duration_from_the_start(value: float | str, expected: float) -> None:
    assert read_time(value, start=NOW, param="deadline") == expected


@pytest.mark.parametrize(
    "value",
    ["", "soon", "15", "m", "15 m", "-5m", "2027-01-15", "2027-01-15T08:00:00", "2027-13-01T00:00:00Z", -1, 1e18],
)
def test_what_is_no_time_is_refused_with_the_parameter_named(value: float | str) -> None:
    with pytest.raises(RequestError) as refusal:
        read_time(value, start=NOW, param="deadline")
    assert refusal.value.param == "deadline"
    assert repr(value) in refusal.value.message


@pytest.mark.parametrize(("value", "expected"), [(30, 30.0), (0.5, 0.5), ("90s", 90.0), ("2m", 120.0)])
def test_a_duration_is_seconds_or_has_a_unit(value: float | str, expected: float) -> None:
    assert read_duration(value, longest_seconds=3600, param="timeout") == expected


@pytest.mark.parametrize("value", [0, -1, "0s", "2h", 3601, "ten"])
def test_a_duration_out_of_its_bounds_is_refused(value: float | str) -> None:
    with pytest.raises(RequestError):
        read_duration(value, longest_seconds=3600, param="timeout")


@given(st.text(max_size=40))
def test_no_text_is_read_as_a_time_out_of_range(text: str) -> None:
    try:
        moment = read_time(text, start=NOW, param="deadline")
    except RequestError:
        return
    assert 0 <= moment <= LAST_SECOND


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_a_time_that_went_out_comes_in_as_the_same(moment: int) -> None:
    assert read_time(rfc3339(moment), start=NOW, param="deadline") == moment
