"""Bodies, headers and query parameters of the API: read, or refused with a sentence; never anything else."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams
from starlette.requests import Request

from forebay.api.batches.requests import parse_batch
from forebay.api.context import ANYONE
from forebay.api.files.anthropic import expiry_seconds as anthropic_expiry
from forebay.api.files.content import disposition
from forebay.api.files.routes import expiry_seconds
from forebay.api.gate import is_loopback_host
from forebay.api.idempotency import fingerprint_of, identify
from forebay.api.inference import Preference
from forebay.api.jobs.listing import HIGHEST_LIMIT, jobs_query, read_limit
from forebay.api.jobs.requests import FIELDS, order_of, parse_head, parse_request
from forebay.api.times import LAST_SECOND, read_duration, read_time
from forebay.domain.batch import batch_id, job_id_of
from forebay.policy.durations import LONGEST_SECONDS, duration_seconds
from forebay.policy.json_text import DEEPEST
from tests.fuzz.refusals import refusal_of
from tests.fuzz.strategies import JSON_OBJECTS, JSON_VALUES, TEXTS, damaged, fuzz, raw_json

NOW = 1_800_000_000.0
LATIN = st.text(st.characters(max_codepoint=0xFF), max_size=30)
MOMENTS = (
    TEXTS
    | st.sampled_from(
        ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "24h", "1h30m", "9" * 400, "-1", "nan"]
    )
    | st.datetimes().map(lambda moment: moment.isoformat() + "Z")
    | st.builds("{}{}".format, st.integers(0, 10**20), st.sampled_from(["s", "ms", "w", " h", "H"]))
)


def request(headers: dict[str, str]) -> Request:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, "path": "/v1/jobs", "query_string": b"", "method": "POST"})


FIELD_VALUES = JSON_VALUES | MOMENTS | st.integers(-200, 200) | st.dictionaries(TEXTS, TEXTS, max_size=3)
JOBS = st.fixed_dictionaries(
    {"body": JSON_OBJECTS | JSON_VALUES},
    optional=dict.fromkeys([*(name for name in FIELDS if name != "body"), "odd"], FIELD_VALUES),
).map(lambda fields: json.dumps(fields).encode())
GOOD_JOBS = st.builds(
    lambda inner, rest: b'{"body": {"model": "m", "x": ' + inner.encode() + b"}" + rest + b"}",
    raw_json(),
    st.sampled_from([b"", b', "priority": 5', b', "deadline": "24h"', b', "metadata": {"a": "b"}', b', "join": null']),
)


@fuzz(500)
@given(JOBS | damaged(JOBS) | damaged(GOOD_JOBS))
@example(b'{"body": {"model": "m\\u0000"}}')
@example(b'{"body": {}, "metadata": {"\\u0000": ""}}')
@example(b'{"body": {}, "target": "\\u0000"}')
@example(b"[" * 100_000)
def test_a_job_is_read_or_refused_with_a_sentence(data: bytes) -> None:
    def read() -> None:
        parsed = parse_request(data)
        order = order_of(parsed, identify(request({}), data, body_key=parsed.idempotency_key), NOW)
        assert isinstance(json.loads(order.body), dict)
        assert all("\0" not in text for text in (order.target or "", order.model or "", order.key))
        assert all("\0" not in text for pair in order.metadata.items() for text in pair)
        assert order.deadline is None or 0 <= order.deadline <= LAST_SECOND

    refusal_of(read)


@fuzz(200)
@given(GOOD_JOBS)
def test_the_body_of_a_job_goes_on_byte_by_byte(data: bytes) -> None:
    parsed = parse_request(data)
    order = order_of(parsed, identify(request({}), data), NOW)
    assert order.body.encode() in data
    assert json.loads(order.body)["model"] == order.model == "m"


@pytest.mark.parametrize("depth", [DEEPEST, 800, 990, 100_000])
def test_a_body_deeper_than_every_reader_can_follow_is_refused(depth: int) -> None:
    refusal = refusal_of(lambda: parse_head(b'{"model": "m", "x": ' + b"[" * depth + b"]" * depth + b"}"))
    assert refusal is not None
    assert refusal.message == f"The body is nested deeper than {DEEPEST}"


@fuzz(200)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "input_file_id": TEXTS | JSON_VALUES,
            "endpoint": st.just("/v1/embeddings") | JSON_VALUES,
            "completion_window": st.sampled_from(["24h", "7d", "٣h", "0m", "9999999d"]) | JSON_VALUES,
            "metadata": st.dictionaries(TEXTS | st.just("forebay_budget_usd"), TEXTS, max_size=18) | JSON_VALUES,
            "output_expires_after": JSON_VALUES,
            "idempotency_key": JSON_VALUES,
        },
    ).map(lambda fields: json.dumps(fields).encode())
)
def test_a_batch_is_read_or_refused_with_a_sentence(data: bytes) -> None:
    refusal_of(lambda: parse_batch(data))


@fuzz(300)
@given(MOMENTS | st.floats() | st.integers(), st.booleans())
def test_a_time_is_a_second_that_can_be_said_or_is_refused(value: str | float, is_past: bool) -> None:
    def read() -> None:
        assert 0 <= read_time(value, start=NOW, param="deadline", is_past=is_past) <= LAST_SECOND
        assert 0 < read_duration(value, longest_seconds=60.0, param="timeout") <= 60.0

    refusal_of(read)


@fuzz(300)
@given(MOMENTS | LATIN)
@example("9" * 500 + "w")
@example("٣h")
def test_a_duration_is_within_a_century_or_none(text: str) -> None:
    seconds = duration_seconds(text)
    assert seconds is None or 0 <= seconds <= LONGEST_SECONDS
    assert seconds is None or text.strip().isascii()


@fuzz(400)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["status", "kind", "limit", "after", "parent_id", "created_after", "created_before", "model"]
            )
            | TEXTS
            | st.builds("metadata[{}]".format, TEXTS),
            MOMENTS | st.sampled_from(["queued", "queued,failed", ",", "0", "1", "1001", "٣"]),
        ),
        max_size=4,
    )
)
def test_filters_are_read_or_refused_by_name(pairs: list[tuple[str, str]]) -> None:
    params = QueryParams(pairs)

    def read() -> None:
        query = jobs_query(params, ANYONE, NOW)
        assert 1 <= query.limit <= HIGHEST_LIMIT
        assert bool(query.statuses) == ("status" in params)
        assert bool(query.kinds) == ("kind" in params)

    refusal = refusal_of(read)
    if refusal is not None and refusal.param is not None:
        assert any(refusal.param in {name, name.partition("[")[0]} for name, _ in pairs)


@fuzz(200)
@given(TEXTS | st.integers().map(str) | st.just("9" * 5000))
def test_limits_and_expiries_are_numbers_within_their_bounds(text: str) -> None:
    def read() -> None:
        assert 1 <= read_limit(text) <= HIGHEST_LIMIT

    refusal_of(read)
    refusal_of(lambda: expiry_seconds(text, "seconds"))
    refusal_of(lambda: anthropic_expiry(text))


@fuzz(300)
@given(st.lists(LATIN | st.sampled_from(["respond-async", "wait=5", 'wait="5', "wait=²", ";;,", "a=b;c"]), max_size=4))
def test_a_preference_of_any_form_is_read(headers: list[str]) -> None:
    preference = Preference(headers)
    assert 0 <= preference.wait_seconds <= 86_400
    assert preference.is_held or preference.is_async
    assert preference.applied.isascii()


@fuzz(300)
@given(LATIN | st.sampled_from(["²", "9" * 5000, "00", "01", "-1", " 1"]), LATIN, LATIN)
def test_an_sdks_count_of_its_repeats_is_any_text(repeats: str, key: str, authorization: str) -> None:
    headers = {"x-stainless-retry-count": repeats, "authorization": authorization}

    def read() -> None:
        identity = identify(request({**headers, "idempotency-key": key}), b"{}")
        assert identity.is_repeat == (repeats.isascii() and repeats.isdigit() and set(repeats) != {"0"})
        assert identity.origin

    refusal = refusal_of(read)
    assert (refusal is not None) == (not key or "\0" in key)


@fuzz(300)
@given(raw_json(), st.sampled_from([" ", "\n\t", ""]), JSON_OBJECTS)
def test_a_fingerprint_is_of_what_json_says_and_not_of_how(text: str, space: str, fields: dict[str, Any]) -> None:
    assert fingerprint_of((space + text + space).encode()) == fingerprint_of(text.encode()) or "1e" in text.lower()
    swapped = dict(reversed(fields.items()))
    assert fingerprint_of(json.dumps(fields).encode()) == fingerprint_of(json.dumps(swapped, indent=1).encode())


@fuzz(300)
@given(LATIN | st.sampled_from(["[::1", "localhost:99999999", "127.0.0.1.", "[::1]:x", "::1", "localhost\0"]))
def test_a_host_is_loopback_or_not_whatever_it_says(host: str) -> None:
    assert is_loopback_host(host) in {True, False}


@fuzz(200)
@given(st.text(max_size=40))
def test_a_file_name_stays_within_its_header(name: str) -> None:
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


@fuzz(100)
@given(TEXTS)
def test_a_batch_id_names_the_same_job_both_ways(named: str) -> None:
    assert job_id_of(batch_id("job_" + named)) == "job_" + named
    assert isinstance(job_id_of(named), str)
