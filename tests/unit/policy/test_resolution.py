"""Which target serves a request, and what becomes of its model."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.errors import NotFound, RequestError
from forebay.domain.target import Route, RouteEntry, TargetSpec, TargetType
from forebay.policy.resolution import CHAT, MESSAGES, Candidate, Resolver, normal_endpoint, rewrite_model


def spec(name: str, *models: str, kind: TargetType = TargetType.OPENAI) -> TargetSpec:
    return TargetSpec(name=name, type=kind, models=models)


TARGETS = [
    spec("vllm", "llama", "shared"),
    spec("gpt", "gpt-*", "gpt-x", "shared"),
    spec("all", "*"),
    spec("claude", "claude-*", "claude-y", kind=TargetType.ANTHROPIC),
    spec("ocr", kind=TargetType.PYTHON),
    TargetSpec(name="own", type=TargetType.LOCAL, model="qwen"),
]
ROUTES = [
    Route(name="summariser", entries=(RouteEntry(target="vllm"), RouteEntry(target="gpt", model="gpt-z"))),
    Route(name="either", entries=(RouteEntry(target="claude"), RouteEntry(target="vllm", model="llama"))),
    Route(name="llama", entries=(RouteEntry(target="gpt"),)),
]
RESOLVER = Resolver(TARGETS, ROUTES)
WITHOUT_ALL = Resolver([one for one in TARGETS if one.name != "all"], ROUTES)


def resolved(model: str | None = None, target: str | None = None, endpoint: str | None = None) -> tuple[str, ...]:
    found = RESOLVER.resolve(target=target, model=model, endpoint=endpoint)
    return (found.queue, *(f"{one.target}/{one.model}" for one in found.candidates))


def test_a_named_target_comes_before_all_else() -> None:
    assert resolved("llama", target="gpt") == ("target:gpt", "gpt/llama")
    assert resolved(target="gpt") == ("target:gpt", "gpt/gpt-x")
    assert resolved(target="ocr") == ("target:ocr", "ocr/None")
    assert resolved(target="own") == ("target:own", "own/qwen")


def test_a_route_can_be_named_as_a_target() -> None:
    assert resolved(target="summariser") == ("route:summariser", "vllm/llama", "gpt/gpt-z")


def test_a_route_comes_before_a_model_of_its_name() -> None:
    assert resolved("llama") == ("route:llama", "gpt/gpt-x")


def test_a_routes_entries_are_sent_their_own_models_in_order() -> None:
    assert resolved("summariser") == ("route:summariser", "vllm/llama", "gpt/gpt-z")


def test_an_exact_model_comes_before_a_pattern_and_the_first_in_the_file_wins() -> None:
    assert resolved("shared") == ("target:vllm", "vllm/shared")
    assert resolved("gpt-x") == ("target:gpt", "gpt/gpt-x")
    assert resolved("claude-y", endpoint=MESSAGES) == ("target:claude", "claude/claude-y")
    assert resolved("qwen") == ("target:own", "own/qwen")


def test_a_pattern_serves_what_no_exact_name_does() -> None:
    assert resolved("gpt-9") == ("target:gpt", "gpt/gpt-9")
    assert resolved("anything") == ("target:all", "all/anything")


def test_targets_that_do_not_serve_the_endpoint_are_passed_over() -> None:
    assert resolved("claude-new") == ("target:all", "all/claude-new")
    assert resolved("claude-new", endpoint=MESSAGES) == ("target:claude", "claude/claude-new")
    assert resolved("either", endpoint=CHAT) == ("route:either", "vllm/llama")
    assert resolved("either") == ("route:either", "claude/claude-y")


def test_the_endpoint_defaults_to_the_types_own() -> None:
    assert WITHOUT_ALL.resolve(target=None, model="claude-y", endpoint=None).endpoint == MESSAGES
    assert WITHOUT_ALL.resolve(target=None, model="gpt-x", endpoint=None).endpoint == CHAT
    assert WITHOUT_ALL.resolve(target=None, model="gpt-x", endpoint="embeddings").endpoint == "/v1/embeddings"


@pytest.mark.parametrize(("target", "model"), [(None, "nope"), ("nope", None), ("nope", "gpt-x")])
def test_no_match_is_not_found(target: str | None, model: str | None) -> None:
    with pytest.raises(NotFound) as caught:
        WITHOUT_ALL.resolve(target=target, model=model, endpoint=None)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == ("target" if target else "model")


def test_a_near_miss_names_the_nearest_model() -> None:
    with pytest.raises(NotFound, match="did you mean 'claude-y'"):
        WITHOUT_ALL.resolve(target=None, model="cloude-y", endpoint=None)


@pytest.mark.parametrize(
    ("target", "model", "endpoint"),
    [
        (None, "claude-y", CHAT),
        ("claude", None, "/v1/embeddings"),
        (None, "gpt-x", MESSAGES),
        (None, "llama", MESSAGES),
    ],
)
def test_a_match_that_does_not_serve_the_endpoint_is_refused(
    target: str | None, model: str | None, endpoint: str
) -> None:
    with pytest.raises(RequestError) as caught:
        WITHOUT_ALL.resolve(target=target, model=model, endpoint=endpoint)
    assert (caught.value.status_code, caught.value.code) == (400, "endpoint_not_supported")


def test_a_request_that_names_nothing_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        RESOLVER.resolve(target=None, model=None, endpoint=None)
    assert caught.value.param == "model"


def test_only_the_star_is_special_in_a_pattern() -> None:
    resolver = Resolver([spec("a", "m[1]?.x-*")], [])
    assert resolver.resolve(target=None, model="m[1]?.x-2", endpoint=None).candidates == (
        Candidate(target="a", model="m[1]?.x-2"),
    )
    with pytest.raises(NotFound):
        resolver.resolve(target=None, model="m1a.x-2", endpoint=None)


def test_the_names_that_are_listed_are_exact_models_and_routes_once_each() -> None:
    assert RESOLVER.model_names() == ["llama", "shared", "gpt-x", "claude-y", "qwen", "summariser", "either"]


@pytest.mark.parametrize(
    "endpoint", ["chat/completions", "/chat/completions", "/v1/chat/completions", "v1/chat/completions/"]
)
def test_an_endpoint_is_the_same_with_and_without_its_version(endpoint: str) -> None:
    assert normal_endpoint(endpoint) == CHAT


@pytest.mark.parametrize(
    "endpoint", ["", "/", "/v1/../admin", "/./x", "/a//b", "/a?b=c", "/a#b", "/%2e%2e/x", "/a b", "/" + "a" * 300]
)
def test_a_path_that_leads_elsewhere_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(RequestError):
        normal_endpoint(endpoint)


def test_only_the_model_of_a_body_changes() -> None:
    body = '{ "temperature": 1.0,\n "model" : "a", "big": 12345678901234567890123, "e": 1E+2, "t": "\\u00e9é"}'
    assert rewrite_model(body, "b") == (
        '{ "temperature": 1.0,\n "model" : "b", "big": 12345678901234567890123, "e": 1E+2, "t": "\\u00e9é"}'.encode()
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"x": {"model": "a"}, "model": "a", "y": 1}', '{"x": {"model": "a"}, "model": "b", "y": 1}'),
        ('{"x": "\\"model\\": \\"a\\"", "model": "a"}', '{"x": "\\"model\\": \\"a\\"", "model": "b"}'),
        ('{"model": 1, "n": [{"model": 12}]}', '{"model": "b", "n": [{"model": 12}]}'),
        ('{"n": [{"model": 12}], "model": 1}', '{"n": [{"model": 12}], "model": "b"}'),
        ('{"\\u006dodel": "a", "x": {"model": "a"}}', '{"model":"b","x":{"model": "a"}}'),
        ('{"model": "a", "n": 1, "n": 2}', '{"model": "b", "n": 1, "n": 2}'),
        ('{ "input": 1 }', '{"model":"b", "input": 1 }'),
        (" {}", ' {"model":"b"}'),
    ],
)
def test_the_outermost_model_changes_where_it_stands(body: str, expected: str) -> None:
    assert rewrite_model(body, "b") == expected.encode()


@pytest.mark.parametrize("body", ['{"model" :  "b" , "x":1}', '{"model":"\\u0062"}', "[1]", '"text"', "{broken", ""])
def test_a_body_with_that_model_or_without_room_for_one_stays_as_it_is(body: str) -> None:
    assert rewrite_model(body, "b") == body.encode()


def test_a_body_without_a_model_gets_it() -> None:
    assert rewrite_model('{"input":"x"}', "b") == b'{"model":"b","input":"x"}'
    assert rewrite_model('{"model":null}', "b") == b'{"model":"b"}'


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(body=st.dictionaries(st.sampled_from(["model", "messages", "x", "é"]), JSON_VALUES), model=st.text(max_size=8))
def test_a_rewritten_body_differs_in_its_model_alone(body: dict[str, object], model: str) -> None:
    text = msgspec.json.encode(body).decode()
    assert msgspec.json.decode(rewrite_model(text, model)) == {**body, "model": model}


NAMES = st.sampled_from(["a", "b", "a-1", "b-1", "c"])


@given(
    targets=st.lists(
        st.builds(
            TargetSpec,
            name=st.sampled_from(["t1", "t2", "t3"]),
            type=st.sampled_from(list(TargetType)),
            models=st.lists(st.sampled_from(["a", "b", "a-*", "*", "c"]), max_size=3, unique=True).map(tuple),
        ),
        unique_by=lambda one: one.name,
    ),
    target=st.none() | st.sampled_from(["t1", "t2", "nope"]),
    model=st.none() | NAMES,
    endpoint=st.sampled_from([None, CHAT, MESSAGES, "/v1/embeddings"]),
)
def test_a_resolution_names_known_targets_and_keeps_what_was_asked_for(
    targets: list[TargetSpec], target: str | None, model: str | None, endpoint: str | None
) -> None:
    try:
        found = Resolver(targets, []).resolve(target=target, model=model, endpoint=endpoint)
    except RequestError:
        return
    [candidate] = found.candidates
    assert found.queue == f"target:{candidate.target}"
    assert target in (None, candidate.target)
    assert endpoint in (None, found.endpoint)
    assert model in (None, candidate.model)
