"""Usage read from answers, estimates read from requests, and what both cost."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.attempt import Usage
from forebay.domain.target import Prices, TargetSpec, TargetType
from forebay.policy.pricing import (
    ANTHROPIC_URL,
    FREE,
    ModelPrices,
    Price,
    Tier,
    cost_usd,
    declared,
    maximal_cost_usd,
    prices_for,
    usage_cost_usd,
)
from forebay.policy.usage import DEFAULT_OUTPUT_TOKENS, Metering, estimate_request, read_metering
from forebay.targets.prices import ListPrices

CHAT = "/v1/chat/completions"
OPENAI_URL = "https://api.openai.com/v1"


def unknown(_base_url: str, _model: str, _tier: str | None) -> ModelPrices | None:
    return None


def test_chat_usage_is_read() -> None:
    body = (
        b'{"model":"gpt-x","usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,'
        b'"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":7}}}'
    )
    metering = read_metering(body)
    assert metering.usage == Usage(input_tokens=100, cached_tokens=64, output_tokens=20, reasoning_tokens=7)
    assert metering.model == "gpt-x"


def test_usage_of_responses_is_read() -> None:
    body = (
        b'{"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,'
        b'"output_tokens_details":{"reasoning_tokens":2},"total_tokens":15}}'
    )
    expected = Usage(input_tokens=10, cached_tokens=4, output_tokens=5, reasoning_tokens=2)
    assert read_metering(body).usage == expected


def test_usage_of_embeddings_has_no_output() -> None:
    assert read_metering(b'{"usage":{"prompt_tokens":8,"total_tokens":8}}').usage == Usage(input_tokens=8)


def test_anthropics_cached_tokens_count_as_input() -> None:
    body = (
        b'{"type":"message","usage":{"input_tokens":10,"cache_read_input_tokens":100,'
        b'"cache_creation_input_tokens":50,"output_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":20}}}'
    )
    metering = read_metering(body)
    assert metering.usage == Usage(input_tokens=160, cached_tokens=100, output_tokens=5)
    assert (metering.cache_write_tokens, metering.cache_write_hour_tokens) == (50, 20)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'"text"', b'{"usage":null}', b'{"usage":{}}', b'{"usage":"many"}'])
def test_an_answer_that_says_nothing_of_usage_has_none_and_not_zero(body: bytes) -> None:
    assert read_metering(body).usage is None


@pytest.mark.parametrize("body", [b"", b'{"usage":', b"<html>", b'{"a":1} x', b'{"id": "\xff"}', b"[" * 99_999])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_metering(body)


@given(st.binary(max_size=300))
def test_an_estimate_never_raises(body: bytes) -> None:
    assert estimate_request(body, CHAT).input_tokens >= 1


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_the_bound_of_the_output_is_read(name: str) -> None:
    estimate = estimate_request(msgspec.json.encode({name: 77, "n": 2}), CHAT)
    assert (estimate.output_tokens, estimate.is_bounded) == (154, True)


def test_a_request_nested_too_deeply_is_estimated_all_the_same() -> None:
    body = b'{"x":' + b"[" * 99_999 + b"]" * 99_999 + b"}"
    assert estimate_request(body, CHAT).is_bounded is False


def test_without_a_bound_the_estimate_says_so() -> None:
    estimate = estimate_request(b'{"messages":[]}', CHAT)
    assert (estimate.output_tokens, estimate.is_bounded) == (DEFAULT_OUTPUT_TOKENS, False)


def test_embeddings_have_no_output() -> None:
    assert estimate_request(b'{"input":"' + b"x" * 400 + b'"}', "/v1/embeddings").total_tokens == 103


def test_each_kind_of_token_has_its_price() -> None:
    prices = ModelPrices(
        input=Price(usd=3),
        output=Price(usd=15),
        cached_input=Price(usd=0.3),
        cache_write=Price(usd=3.75),
        cache_write_hour=Price(usd=6),
    )
    usage = Usage(input_tokens=1000, cached_tokens=300, output_tokens=10)
    metering = Metering(usage=usage, cache_write_tokens=200, cache_write_hour_tokens=50)
    expected = (500 * 3 + 300 * 0.3 + 150 * 3.75 + 50 * 6 + 10 * 15) / 1e6
    assert cost_usd(metering, prices) == pytest.approx(expected)


def test_a_step_by_length_prices_all_tokens_of_the_call() -> None:
    prices = ModelPrices(input=Price(usd=3, tiers=(Tier(above_tokens=200_000, usd=6),)), output=Price(usd=15))
    assert usage_cost_usd(Usage(input_tokens=200_000), prices) == pytest.approx(0.6)
    assert usage_cost_usd(Usage(input_tokens=200_001), prices) == pytest.approx(200_001 * 6 / 1e6)


def test_what_is_unknown_costs_none_and_not_zero() -> None:
    assert cost_usd(Metering(), ModelPrices(input=Price(usd=1), output=Price(usd=1))) is None
    assert usage_cost_usd(Usage(input_tokens=5), None) is None
    assert maximal_cost_usd(estimate_request(b"{}", CHAT), None) is None


def test_audio_is_priced_apart_and_so_unknown() -> None:
    body = b'{"usage":{"prompt_tokens":9,"completion_tokens":9,"prompt_tokens_details":{"audio_tokens":4}}}'
    assert cost_usd(read_metering(body), ModelPrices(input=Price(usd=1), output=Price(usd=1))) is None


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**5))
def test_no_answer_within_the_bound_costs_more_than_the_maximum(fresh: int, cached: int, output: int) -> None:
    prices = declared(Prices(input=2.0, output=8.0, cached_input=0.5))
    estimate = estimate_request(b"{}", CHAT)
    estimate = msgspec.structs.replace(estimate, input_tokens=fresh + cached, output_tokens=output)
    cost = usage_cost_usd(Usage(input_tokens=fresh + cached, cached_tokens=cached, output_tokens=output), prices)
    maximum = maximal_cost_usd(estimate, prices)
    assert cost is not None
    assert maximum is not None
    assert cost <= maximum + 1e-12


def test_a_local_model_is_free_whatever_it_says_of_usage() -> None:
    prices = prices_for(TargetSpec(name="l", type=TargetType.LOCAL, model="m"), "m", unknown)
    assert prices is FREE
    assert cost_usd(Metering(), prices) == 0.0


def test_a_declaration_goes_before_the_list() -> None:
    spec = TargetSpec(name="g", type=TargetType.OPENAI, base_url=OPENAI_URL, prices=Prices(input=1, output=2))
    prices = prices_for(spec, "gpt-4o", ListPrices())
    assert prices == declared(Prices(input=1, output=2))


def test_the_list_knows_openais_prices_by_address_model_and_tier() -> None:
    table = ListPrices()
    standard, flex = table(OPENAI_URL, "gpt-5", None), table(OPENAI_URL, "gpt-5", "flex")
    assert standard is not None
    assert flex is not None
    assert 0 < flex.input.usd < standard.input.usd
    assert standard.cached_input is not None


def test_the_list_knows_anthropic_where_no_address_is_declared() -> None:
    spec = TargetSpec(name="c", type=TargetType.ANTHROPIC)
    prices = prices_for(spec, "claude-sonnet-4-5", ListPrices())
    assert prices is not None
    assert prices == ListPrices()(ANTHROPIC_URL, "claude-sonnet-4-5", None)
    assert prices.cache_write is not None


@pytest.mark.parametrize(("url", "model"), [("http://gpu-box:8000/v1", "gpt-5"), (OPENAI_URL, "no-such-model")])
def test_a_private_address_or_an_unlisted_model_has_no_price(url: str, model: str) -> None:
    assert ListPrices()(url, model, None) is None
