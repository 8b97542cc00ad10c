"""What upstreams' headers say, in all the forms they write it."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.rate_headers import MAX_WAIT_SECONDS, NO_HINTS, rate_hints, retry_after_seconds

NOW = 1_800_000_000.0

NAMES = st.sampled_from(
    [
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "x-ratelimit-limit-tokens",
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-requests-remaining",
    ]
)


@given(st.dictionaries(NAMES, st.text(max_size=40)))
def test_no_header_text_raises_and_every_number_is_sane(headers: dict[str, str]) -> None:
    hints = rate_hints(headers, NOW)
    waits = (hints.reset_requests_seconds, hints.reset_tokens_seconds, hints.retry_after_seconds)
    assert all(wait is None or 0 <= wait <= MAX_WAIT_SECONDS for wait in waits)


@given(st.integers(0, 600_000))
def test_whole_seconds_are_read(seconds: int) -> None:
    assert retry_after_seconds({"retry-after": str(seconds)}, NOW) == seconds


@given(st.integers(0, 600_000))
def test_an_http_date_is_read_as_the_time_until_then(seconds: int) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + seconds, tz=UTC), usegmt=True)
    assert retry_after_seconds({"retry-after": date}, NOW) == seconds


@given(st.integers(0, 600_000))
def test_an_rfc_3339_reset_of_anthropic_is_read(seconds: int) -> None:
    moment = datetime.fromtimestamp(NOW + seconds, tz=UTC).isoformat().replace("+00:00", "Z")
    hints = rate_hints({"anthropic-ratelimit-requests-reset": moment}, NOW)
    assert hints.reset_requests_seconds == seconds


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_of_go_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int, ms: int) -> None:
    hints = rate_hints({"x-ratelimit-reset-tokens": f"{hours}h{minutes}m{seconds}s{ms}ms"}, NOW)
    assert hints.reset_tokens_seconds == pytest.approx(hours * 3600 + minutes * 60 + seconds + ms / 1000)


@pytest.mark.parametrize(("text", "expected"), [("6m0s", 360.0), ("20ms", 0.02), ("1.5s", 1.5), ("1d", 86_400.0)])
def test_durations_as_openai_writes_them(text: str, expected: float) -> None:
    assert rate_hints({"x-ratelimit-reset-requests": text}, NOW).reset_requests_seconds == pytest.approx(expected)


def test_milliseconds_go_before_seconds() -> None:
    assert retry_after_seconds({"retry-after": "1", "retry-after-ms": "250"}, NOW) == 0.25


def test_a_date_in_the_past_is_no_wait() -> None:
    assert retry_after_seconds({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, NOW) == 0


@pytest.mark.parametrize("text", ["", "soon", "-5", "nan", "inf", "1e9", "6x", "٣", "6m0s junk"])
def test_what_cannot_be_read_is_not_said(text: str) -> None:
    assert retry_after_seconds({"retry-after": text}, NOW) is None


def test_an_absurd_wait_is_bounded() -> None:
    assert retry_after_seconds({"retry-after": "99999999999"}, NOW) == MAX_WAIT_SECONDS


def test_headers_without_a_limit_give_no_hints() -> None:
    assert rate_hints({"content-type": "application/json"}, NOW) is NO_HINTS


def test_all_of_openais_headers_are_read() -> None:
    headers = {
        "x-ratelimit-limit-requests": "5000",
        "x-ratelimit-remaining-requests": "4999",
        "x-ratelimit-reset-requests": "12ms",
        "x-ratelimit-limit-tokens": "2000000",
        "x-ratelimit-remaining-tokens": "1999000",
        "x-ratelimit-reset-tokens": "30ms",
    }
    hints = rate_hints(headers, NOW)
    assert (hints.limit_requests, hints.remaining_requests, hints.reset_requests_seconds) == (5000, 4999, 0.012)
    assert (hints.limit_tokens, hints.remaining_tokens, hints.reset_tokens_seconds) == (2_000_000, 1_999_000, 0.03)
    assert hints.retry_after_seconds is None
