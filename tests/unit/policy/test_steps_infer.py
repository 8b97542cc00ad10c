"""The options of steps that ask models, what they ask, and what they make of answers."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.connectors.inference_types import structure_of
from forebay.domain.asking import Form
from forebay.domain.errors import RequestError
from forebay.domain.fanout import How, OnFailure
from forebay.policy.batch_output import read_line
from forebay.policy.requests import RequestOptions
from forebay.policy.steps.answers import Reader
from forebay.policy.steps.asking import Asked, Asker, schema_of
from forebay.policy.steps.fanout import read_fanout
from forebay.policy.steps.infer import read_infer, read_infer_once

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "x"}, "target"),
        ({"target": "t", "prompt": "x", "body": {}}, "prompt"),
        ({"target": "t", "body": {}, "system": "x"}, "system"),
        ({"target": "t", "body": []}, "body"),
        ({"target": "t", "prompt": "x", "promt": "y"}, "promt"),
        ({"target": "t", "prompt": "x", "schema": {"type": 3}}, "schema"),
        ({"target": "t", "prompt": "x", "records_per_call": 0}, "records_per_call"),
        ({"target": "t", "prompt": "x", "records_per_call": True}, "records_per_call"),
        ({"target": "t", "body": {"a": "{x}"}, "records_per_call": 2}, "records_per_call"),
        ({"target": "t", "prompt": "{x}", "system": "{y}", "records_per_call": 2}, "system"),
        ({"target": "t", "prompt": "x", "params": {"stream": True}}, "body.stream"),
        ({"target": "t", "prompt": "x", "notify": {"webhook": "https://x"}}, "notify"),
        ({"target": "t", "prompt": "x", "targets": ["a"]}, "targets"),
        ({"target": "t", "prompt": "x", "data_class": "secret"}, "data_class"),
        ({"target": "t", "prompt": "x", "timeout": "soon"}, "timeout"),
        ({"target": "t", "prompt": "x", "max_attempts": 0}, "max_attempts"),
        ({"target": "t", "prompt": "x", "on_unknown": "hope"}, "on_unknown"),
        ({"target": "t", "prompt": "x", "budget_usd": -1}, "budget_usd"),
        ({"target": "t", "prompt": "x", "metadata": {"a": 1}}, "metadata"),
    ],
)
def test_an_option_that_can_not_be_done_is_refused_by_its_name(options: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_infer(options)
    assert refused.value.param == param


def test_one_call_has_no_number_of_records() -> None:
    with pytest.raises(RequestError) as refused:
        read_infer_once({"target": "t", "prompt": "x", "records_per_call": 2})
    assert refused.value.param == "records_per_call"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"prompt": "x"}, "targets"),
        ({"targets": ["a"]}, "prompt"),
        ({"targets": [], "prompt": "x"}, "targets"),
        ({"targets": ["a"], "prompt": "x", "schema": {}}, "schema"),
        ({"targets": ["a"], "prompt": "x", "target": "b"}, "target"),
        ({"targets": ["a"], "prompt": "x", "on_failure": "cry"}, "on_failure"),
        ({"targets": ["a"], "prompt": "x", "join": {"successes": 2}}, "join.successes"),
        ({"targets": {"one": {"target": "a"}}}, "targets.one"),
        ({"targets": {"one": {"target": "a", "body": {}, "when": {}}}}, "targets.one.when"),
    ],
)
def test_a_fan_out_that_can_not_be_done_is_refused_by_its_name(options: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_fanout(options)
    assert refused.value.param == param


def test_a_fan_out_has_its_branches_in_order_and_one_for_each_mention() -> None:
    read = read_fanout(
        {"targets": ["a", "b/m", "a"], "prompt": "x", "join": "first", "aggregate": "first", "on_failure": "fail"}
    )
    assert [(one.name, one.target, one.model) for one in read.branches] == [
        ("a", "a", None),
        ("b/m", "b", "m"),
        ("a-2", "a", None),
    ]
    assert (read.successes, read.on_failure, read.aggregation.how) == (1, OnFailure.FAIL, How.FIRST)


def asker(per_call: int = 1, **options: Any) -> Asker:
    request = RequestOptions(**{"endpoint": CHAT, **options})
    return Asker(Asked(request=request, place="t", scope={"run": {"id": "r"}, "params": {}}, per_call=per_call))


@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=5), min_size=3), st.integers(1, 5))
def test_a_request_is_known_by_what_it_says_however_many_share_its_call(record: dict[str, str], per_call: int) -> None:
    alone, shared = asker(prompt="{a} {b}"), asker(per_call, prompt="{a} {b}")
    assert alone.key(alone.request(record)) == shared.key(shared.request(record))
    other = {**record, "c": record["c"] + "!"}
    assert alone.key(alone.request(record)) == alone.key(alone.request(other))
    changed = {**record, "a": record["a"] + "!"}
    assert alone.key(alone.request(record)) != alone.key(alone.request(changed))


def test_a_record_wins_over_the_run_where_both_have_a_name() -> None:
    one = asker(prompt="{run} {params}")
    body = msgspec.json.decode(one.request({"run": "own"}).body)
    assert body["messages"][0]["content"] == "own {}"


def line(content: str) -> Any:
    body = {"choices": [{"message": {"content": content}}]}
    return read_line(msgspec.json.encode({"custom_id": "call", "response": {"status_code": 200, "body": body}}))


@given(st.lists(st.integers(0, 6), max_size=8))
def test_each_record_of_a_call_has_one_answer_or_is_asked_again(numbers: list[int]) -> None:
    keys = ["a", "b", "c"]
    said = msgspec.json.encode({"answers": [{"id": number, "output": f"o{number}"} for number in numbers]}).decode()
    answers = {one.key: one for one in Reader(Form.TOGETHER, None, {"call": keys}).answers(line(said))}
    assert list(answers) == keys
    for place, key in enumerate(keys, 1):
        assert answers[key].is_again == (numbers.count(place) != 1)
        assert answers[key].output == (b"" if answers[key].is_again else b'"o%d"' % place)


@pytest.mark.parametrize("said", ["", "[]", "no JSON", '{"answers": 3}', '{"answers": [{"id": "1", "output": 1}]}'])
def test_a_shared_answer_without_any_sense_asks_each_record_again(said: str) -> None:
    answers = list(Reader(Form.TOGETHER, None, {"call": ["a", "b"]}).answers(line(said)))
    assert [(one.key, one.is_again) for one in answers] == [("a", True), ("b", True)]


def test_definitions_of_a_schema_move_to_the_root_of_the_shared_one() -> None:
    own = {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}
    shared = schema_of(Form.TOGETHER, own)
    assert shared["$defs"] == own["$defs"]
    assert shared["properties"]["answers"]["items"]["properties"]["output"] == {"$ref": "#/$defs/n"}


@pytest.mark.parametrize(
    ("schema", "seen", "structure"),
    [
        (None, "VARCHAR", "VARCHAR"),
        (None, None, "VARCHAR"),
        (None, "UBIGINT", "BIGINT"),
        (None, "JSON", "JSON"),
        (None, {"a": ["DOUBLE"]}, {"a": ["DOUBLE"]}),
        ({"type": "object"}, {"label": "VARCHAR"}, {"label": "VARCHAR"}),
        ({"type": "object"}, None, "JSON"),
        ({"properties": {"n": {"type": "number"}}}, {"n": "UBIGINT", "m": "NULL"}, {"n": "DOUBLE", "m": "VARCHAR"}),
        ({"properties": {"n": {"type": "integer"}}}, {"n": "DOUBLE"}, {"n": "JSON"}),
        ({"properties": {"n": {"type": ["string", "null"]}}}, {"n": "NULL"}, {"n": "VARCHAR"}),
        ({"type": "array", "items": {"type": "string"}}, ["NULL"], ["VARCHAR"]),
        (None, {"a": "VARCHAR", "A": "VARCHAR"}, "JSON"),
        (None, {f"k{n}": "VARCHAR" for n in range(201)}, "JSON"),
    ],
)
def test_the_type_of_the_output_follows_the_schema_and_leaves_out_nothing(
    schema: Any, seen: Any, structure: Any
) -> None:
    assert structure_of(schema, seen) == structure


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        ("\\ud83d\\ude00", "😀"),
        ("\\ud800 x", "� x"),
        ("x\\udc00", "x�"),
        ("\\\\ud800", "\\ud800"),
        ("\\ud800\\ud800", "��"),
    ],
)
def test_half_of_a_surrogate_pair_in_an_answer_spoils_no_line(escaped: str, text: str) -> None:
    body = f'{{"choices":[{{"message":{{"content":"{escaped}"}}}}]}}'
    read = read_line(f'{{"custom_id":"a","response":{{"status_code":200,"body":{body}}}}}'.encode())
    [answer] = Reader(Form.ALONE, None, {}).answers(read)
    assert msgspec.json.decode(answer.output) == text


def test_an_output_that_no_table_holds_is_a_failure_of_its_record_alone() -> None:
    body = b"[" * 150 + b"1" + b"]" * 150
    read = read_line(b'{"custom_id":"a","response":{"status_code":200,"body":%s}}' % body)
    [answer] = Reader(Form.ALONE, None, {}).answers(read)
    assert (answer.key, answer.code, "deeper than 100" in answer.message) == ("a", "invalid_output", True)
