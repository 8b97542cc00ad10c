"""How records become requests, and when two requests are the same."""

from typing import Any

import msgspec
import pytest

from forebay.domain.errors import ConfigurationError, RequestError, TemplateFieldMissing
from forebay.policy.requests import Request, RequestOptions, Shape, identity, make_renderer, own_choice
from forebay.runs.options import RunOptions

CHAT = "/v1/chat/completions"
LINE = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "m", "messages": []}}


def rendered(options: RequestOptions, record: dict[str, Any], endpoint: str = CHAT) -> Any:
    return msgspec.json.decode(make_renderer(options, endpoint, record).render(record).body)


def test_a_prompt_is_the_last_message_after_the_system_text() -> None:
    options = RequestOptions(prompt='{"a": "{x}"}', system="As {role}", model="m", params={"temperature": 0})
    assert rendered(options, {"x": '{role} "', "role": "judge"}) == {
        "messages": [
            {"role": "system", "content": "As judge"},
            {"role": "user", "content": '{"a": "{role} ""}'},
        ],
        "model": "m",
        "temperature": 0,
    }


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/completions", {"prompt": "7"}),
        ("/v1/embeddings", {"input": "7"}),
        ("/v1/responses", {"input": "7"}),
        ("/v1/images/generations", {"prompt": "7"}),
        ("/v1/messages", {"max_tokens": 4096, "messages": [{"role": "user", "content": "7"}]}),
    ],
)
def test_each_endpoint_is_asked_in_its_own_form(endpoint: str, body: dict[str, Any]) -> None:
    assert rendered(RequestOptions(prompt="{n}"), {"n": 7}, endpoint) == body


def test_an_endpoint_without_a_place_for_system_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="takes no --system"):
        make_renderer(RequestOptions(prompt="x", system="y"), "/v1/embeddings", {})


def test_a_missing_field_fails_its_record_alone() -> None:
    renderer = make_renderer(RequestOptions(prompt="{a.b}"), CHAT, {"a": {"b": 1}})
    with pytest.raises(TemplateFieldMissing, match=r"a\.b"):
        renderer.render({"a": {}})


def test_openai_lines_go_as_they_are() -> None:
    renderer = make_renderer(RequestOptions(), CHAT, LINE)
    assert renderer.shape is Shape.OPENAI_LINE
    assert msgspec.json.decode(renderer.render(LINE).body) == LINE["body"]
    assert own_choice(RequestOptions(), LINE) == (True, CHAT)
    with pytest.raises(RequestError, match="custom_id"):
        renderer.render({"url": CHAT, "body": {}})
    with pytest.raises(ConfigurationError, match="split it"):
        renderer.render({**LINE, "url": "/v1/embeddings"})


def test_requests_are_the_same_by_endpoint_body_schema_and_place() -> None:
    request = Request(endpoint=CHAT, body=b"{}")
    others = [
        identity(Request(endpoint="/v1/completions", body=b"{}"), "here", None),
        identity(Request(endpoint=CHAT, body=b"{ }"), "here", None),
        identity(request, "there", None),
        identity(request, "here", {"type": "object"}),
    ]
    same = identity(request, "here", None)
    assert identity(request, "here", None) == same
    assert len({same, *others}) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"request": RequestOptions(prompt="x", body={})},
        {"request": RequestOptions(system="x")},
        {"target": "a", "base_url": "http://b"},
        {"concurrency": 0},
        {"max_attempts": 0},
        {"limit": -1},
        {"budget_usd": -1.0},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RunOptions(output="o.csv", **wrong)
