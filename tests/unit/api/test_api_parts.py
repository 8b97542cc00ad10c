"""The pure parts of the API: hosts, paths, preferences, fingerprints, metric labels."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.api.errors import problem_of
from forebay.api.gate import is_loopback_host, own_path
from forebay.api.idempotency import fingerprint_of
from forebay.api.inference import Preference
from forebay.domain.attempt import Outcome, Usage
from forebay.domain.job import Status
from forebay.telemetry import MetricsRegistry, queue_labels


@pytest.mark.parametrize(("number", "status"), [(errno.EMFILE, 503), (errno.ENOSPC, 503), (errno.EINVAL, 500)])
def test_what_has_run_out_is_503_and_other_trouble_of_the_system_500(number: int, status: int) -> None:
    assert problem_of(OSError(number, "no more")).status == status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:80", "[::1]:8700", "a.localhost"])
def test_loopback_names_are_known(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "example.com", "localhost.evil.example", "10.0.0.1:80", "::"])
def test_other_names_are_not_loopback(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/jobs", "/v1/jobs"),
        ("/v1/jobs", "/v1/jobs"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/metrics", "/metrics"),
        ("/docs", "/docs"),
        ("/", "/"),
        ("/v1beta/x", "/v1/v1beta/x"),
    ],
)
def test_a_path_without_its_version_gets_it(path: str, expected: str) -> None:
    assert own_path(path) == expected


@pytest.mark.parametrize(
    ("headers", "is_async", "wait_seconds"),
    [
        ([], False, 0),
        (["respond-async"], True, 0),
        (["respond-async, wait=10"], True, 10),
        (["respond-async; foo=bar, wait=10"], True, 10),
        (["Wait=10", "Respond-Async"], True, 10),
        (["wait=10"], False, 10),
        (['respond-async, wait="5"'], True, 5),
        (["respond-async, wait=soon"], True, 0),
        (["respond-async, wait=-5"], True, 0),
        (["respond-async, wait=5, wait=9"], True, 5),
        (["return=minimal"], False, 0),
    ],
)
def test_preferences_are_read_as_rfc_7240_says(headers: list[str], is_async: bool, wait_seconds: float) -> None:
    preference = Preference(headers)
    assert (preference.is_async, preference.wait_seconds) == (is_async, wait_seconds)


@given(st.text(max_size=60))
def test_no_preference_breaks_the_reader(text: str) -> None:
    Preference([text])


def test_equal_json_has_an_equal_fingerprint() -> None:
    first = fingerprint_of(b'{"a": 1, "b": {"c": [1, 2], "d": "\\u00e4"}}')
    second = fingerprint_of('{"b":{"d":"ä","c":[1,2]},"a":1, "idempotency_key": "k"}'.encode())
    assert first == second


@pytest.mark.parametrize("other", [b'{"a": 2}', b'{"a": "1"}', b'{"a": 1, "b": null}', b'{"a": 1} x', b"\xff"])
def test_other_json_has_another_fingerprint(other: bytes) -> None:
    assert fingerprint_of(b'{"a": 1}') != fingerprint_of(other)


@pytest.mark.parametrize(
    ("queue", "labels"),
    [
        ("target:gpt", ("gpt", "live")),
        ("route:summariser", ("summariser", "route")),
        ("control", ("", "control")),
        ("notify:https://a-tenant.example/hook", ("", "notify")),
    ],
)
def test_no_tenants_text_becomes_a_label(queue: str, labels: tuple[str, str]) -> None:
    assert queue_labels(queue) == labels


def test_what_the_runner_tells_is_counted() -> None:
    metrics = MetricsRegistry()
    metrics.job_ended("infer", "gpt", Status.SUCCEEDED, 0.2, 1.5)
    metrics.job_ended("batch", None, Status.FAILED, None, -1.0)
    metrics.attempt_ended("gpt", "m", Outcome.SUCCEEDED, Usage(input_tokens=3, output_tokens=2), 0.25)
    metrics.attempt_ended("gpt", "m", Outcome.TIMEOUT, None, None)
    metrics.in_flight("gpt", 7)
    value = metrics.registry.get_sample_value
    assert value("forebay_jobs_total", {"kind": "infer", "target": "gpt", "status": "succeeded"}) == 1
    assert value("forebay_job_wait_seconds_sum", {"target": "gpt"}) == pytest.approx(0.2)
    assert value("forebay_job_duration_seconds_count", {"target": ""}) == 1
    assert value("forebay_attempts_total", {"target": "gpt", "outcome": "timeout"}) == 1
    assert value("forebay_tokens_total", {"target": "gpt", "model": "m", "direction": "output"}) == 2
    assert value("forebay_cost_usd_total", {"target": "gpt", "model": "m"}) == 0.25
    assert value("forebay_in_flight", {"target": "gpt"}) == 7
