"""Addresses and headers of calls: what is joined, and what must never be sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from forebay.domain.errors import ConfigurationError, TargetRejected
from forebay.domain.inference import Call
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.aiohttp_client import AiohttpClient
from forebay.targets.build import build_target
from forebay.targets.endpoint import call_headers, is_binary, join_url, preset_headers

SPEC = TargetSpec(name="t", type=TargetType.OPENAI, base_url="http://h/v1")


@pytest.mark.parametrize(
    ("base_url", "endpoint", "expected"),
    [
        ("http://h/v1", "/v1/chat/completions", "http://h/v1/chat/completions"),
        ("http://h", "/v1/chat/completions", "http://h/v1/chat/completions"),
        ("http://h/api/v1", "/v1/embeddings", "http://h/api/v1/embeddings"),
        ("http://h/v1", "/rerank", "http://h/v1/rerank"),
        ("http://h/v1beta", "/v1/x", "http://h/v1beta/v1/x"),
    ],
)
def test_the_version_is_not_doubled(base_url: str, endpoint: str, expected: str) -> None:
    assert join_url(base_url, endpoint) == expected


@pytest.mark.parametrize(
    "endpoint",
    ["", "v1/chat", "@evil.example/", ".evil.example/x", "/v1/../admin", "/v1/%2e%2e/a", "/a b", "/a\r\nb: c", "/a?b"],
)
def test_an_endpoint_that_is_no_plain_path_is_rejected(endpoint: str) -> None:
    with pytest.raises(TargetRejected):
        join_url("http://host:8000", endpoint)


@given(st.text(max_size=30))
def test_no_endpoint_leads_to_another_host(endpoint: str) -> None:
    try:
        url = join_url("http://host:8000", endpoint)
    except TargetRejected:
        return
    assert URL(url).host == "host"


def test_headers_of_the_declaration_override_ours_in_any_case() -> None:
    spec = TargetSpec(name="t", type=TargetType.OPENAI, headers={"Authorization": "Basic x", "X-Team": "a"})
    assert preset_headers(spec, {"authorization": "Bearer y"}) == {"authorization": "Basic x", "x-team": "a"}


def test_a_key_with_a_line_break_is_refused_when_it_is_built_and_not_shown() -> None:
    spec = TargetSpec(name="t", type=TargetType.OPENAI, base_url="http://h/v1", api_key="sk-secret\n")
    with pytest.raises(ConfigurationError) as caught:
        build_target(spec, AiohttpClient())
    assert "sk-secret" not in str(caught.value)


def test_a_target_does_not_show_its_key() -> None:
    spec = TargetSpec(name="t", type=TargetType.OPENAI, base_url="http://h/v1", api_key="sk-secret")
    assert "sk-secret" not in repr(build_target(spec, AiohttpClient()))


def test_each_call_names_its_job_and_attempt() -> None:
    call = Call(job_id="j", attempt=4, endpoint="/e", body=b"{}", timeout_seconds=1)
    assert call_headers({"a": "b"}, call) == {"a": "b", "x-forebay-job-id": "j", "x-forebay-attempt": "4"}


@pytest.mark.parametrize(
    ("content_type", "endpoint", "expected"),
    [
        ("audio/mpeg", "/v1/audio/speech", True),
        ("text/plain", "/v1/audio/transcriptions", True),
        ("text/plain", "/v1/chat/completions", False),
        ("text/html", "/v1/chat/completions", False),
        ("application/json", "/v1/audio/speech", False),
    ],
)
def test_what_is_a_file_and_what_must_be_json(content_type: str, endpoint: str, *, expected: bool) -> None:
    assert is_binary(content_type, endpoint) is expected
