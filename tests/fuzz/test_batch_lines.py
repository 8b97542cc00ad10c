"""Batch input files: hostile lines among good ones, and files damaged byte by byte."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from forebay.domain.batch import MOST_ERRORS, BatchError
from forebay.policy.batch_input import DuplicateCheck, InputCheck, custom_id_of, merged, split_lines
from forebay.policy.json_text import DEEPEST
from tests.fuzz.strategies import JSON_OBJECTS, JSON_VALUES, LONE_SURROGATES, TEXTS, cut, damaged, fuzz, raw_json

CHAT = "/v1/chat/completions"
#: Every code that a line may be refused with, and the params that go with it. Source: the reference of the batch wire.
PARAMS: dict[str, set[str | None]] = {
    "invalid_json_line": {None},
    "missing_required_parameter": {"custom_id", "method", "url", "body"},
    "invalid_value": {"custom_id", "body", "body.model"},
    "invalid_method": {"method"},
    "mismatched_url": {"url"},
    "streaming_unsupported": {"body.stream"},
    "model_not_found": {"body.model"},
    "duplicate_custom_id": {"custom_id"},
    "empty_file": {None},
    "too_many_lines": {None},
}
OF_THE_FILE = {"empty_file", "too_many_lines"}


def judge(model: str | None) -> BatchError | None:
    if model == "a":
        return None
    return BatchError(code="model_not_found", message="no such model", param="body.model")


def found(data: bytes, *, pieces: int = 1, max_lines: int = 1000) -> tuple[BatchError, ...]:
    lines = data.split(b"\n")
    ended = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    fed = [b"".join(ended[start : start + pieces]) for start in range(0, len(ended), pieces)]
    check = InputCheck(CHAT, judge, max_lines)
    for piece in fed:
        check.feed(piece)
        if check.is_over:
            break
    duplicates = DuplicateCheck(check.finish())
    for piece in fed:
        duplicates.feed(piece)
    return merged(check.errors, duplicates.errors)


def line(custom_id: str, extra: str = "null") -> bytes:
    """A line that is good, whatever stands in its body beside the model."""
    given = f'{{"custom_id": {json.dumps(custom_id)}, "method": "POST", "url": "{CHAT}", "body": '
    return (given + '{"model": "a", "extra": ' + extra + "}}").encode()


GOOD_LINES = st.builds(
    line, st.integers(0, 10**9).map("id-{}".format), raw_json() | JSON_VALUES.map(lambda value: json.dumps(value))
)
ODD_LINES = (
    st.builds(
        lambda fields: json.dumps(fields).encode(),
        st.fixed_dictionaries(
            {},
            optional={
                "custom_id": TEXTS | JSON_VALUES,
                "method": st.sampled_from(["POST", "GET", ""]) | JSON_VALUES,
                "url": st.sampled_from([CHAT, "/v1/embeddings", ""]) | JSON_VALUES,
                "body": JSON_OBJECTS
                | JSON_VALUES
                | st.fixed_dictionaries({"model": JSON_VALUES | st.just("a"), "stream": JSON_VALUES}),
                "other": JSON_VALUES,
            },
        ),
    )
    | st.binary(max_size=20).map(lambda data: data.replace(b"\n", b""))
    | raw_json().map(str.encode)
    | LONE_SURROGATES.map(lambda text: line("lone", f'"{text}"'))
)


@fuzz(300)
@given(st.lists(GOOD_LINES, min_size=1, max_size=6, unique_by=custom_id_of), st.integers(1, 3))
def test_every_good_line_is_taken_whatever_stands_before_it(lines: list[bytes], pieces: int) -> None:
    assert found(b"\n".join(lines), pieces=pieces) == ()


@fuzz(300)
@given(st.lists(GOOD_LINES.map(lambda text: (text, True)) | ODD_LINES.map(lambda text: (text, False)), max_size=8))
def test_a_line_is_judged_alike_alone_and_among_others(lines: list[tuple[bytes, bool]]) -> None:
    together = found(b"\n".join(text for text, _ in lines) + b"\n")
    for number, (text, is_good) in enumerate(lines, 1):
        there = [error.code for error in together if error.line == number and error.code != "duplicate_custom_id"]
        alone = [error.code for error in found(text) if error.code != "empty_file"]
        assert there == alone
        assert not (is_good and there)


@fuzz(400)
@given(
    damaged(st.lists(GOOD_LINES | ODD_LINES, max_size=6).map(b"\n".join)),
    st.integers(1, 3),
    st.sampled_from([3, 1000]),
)
@example(b"", 1, 3)
@example(b"\n\r\n \n", 1, 3)
@example(b"\xef\xbb\xbf" + line("x"), 1, 3)
@example(line("x", "[" * 10_000 + "]" * 10_000), 1, 3)
def test_whatever_is_wrong_is_told_by_a_known_code_with_its_line_and_param(
    data: bytes, pieces: int, max_lines: int
) -> None:
    errors = found(data, pieces=pieces, max_lines=max_lines)
    total = len(split_lines(data))
    for error in errors:
        assert error.param in PARAMS[error.code]
        assert error.message
        if error.code in OF_THE_FILE:
            assert error.line is None
        else:
            assert error.line is not None
            assert 1 <= error.line <= total
    assert [error.line or 0 for error in errors] == sorted(error.line or 0 for error in errors)
    assert len(errors) <= MOST_ERRORS
    assert errors == found(data, pieces=100, max_lines=max_lines)
    json.dumps([error.message for error in errors]).encode()


@fuzz(100)
@given(st.data(), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_every_repetition_of_an_id_is_told_with_its_line(data: st.DataObject, ids: list[int]) -> None:
    errors = found(b"\n".join(line(f"id-{number}") for number in ids))
    repeated = [place for place, number in enumerate(ids, 1) if number in ids[: place - 1]]
    assert [(error.code, error.line) for error in errors] == [("duplicate_custom_id", place) for place in repeated]


@fuzz(200)
@given(st.data(), st.binary(max_size=60))
def test_lines_are_split_at_newlines_alone(data: st.DataObject, text: bytes) -> None:
    lines = split_lines(text)
    assert b"\n".join(lines) == text.removesuffix(b"\n")
    assert all(b"\n" not in one for one in lines)
    assert b"".join(data.draw(cut(text))) == text


def test_a_thousand_errors_are_told_and_no_more() -> None:
    lines: list[Any] = [b"{"] * (MOST_ERRORS + 5)
    errors = found(b"\n".join(lines), pieces=100, max_lines=10_000)
    assert [error.line for error in errors] == list(range(1, MOST_ERRORS + 1))


def test_a_line_may_nest_as_deep_as_every_reader_can_follow_and_no_deeper() -> None:
    inner = DEEPEST - 2  # the line and its body are two
    assert found(line("x", "[" * inner + "]" * inner)) == ()
    for depth in (inner + 1, 990, 10_000):
        [error] = found(line("x", "[" * depth + "]" * depth))
        assert error.code == "invalid_json_line"
        assert error.message == f"This line is nested deeper than {DEEPEST}"
