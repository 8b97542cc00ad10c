"""Validation of input files against a plain reading of the rules, one line after another."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.batch import MOST_ERRORS, BatchError
from forebay.policy.batch_input import DuplicateCheck, InputCheck, custom_id_of, merged

CHAT = "/v1/chat/completions"
KNOWN = {"a", "b"}


def judge(model: str | None) -> BatchError | None:
    if model in KNOWN:
        return None
    return BatchError(code="model_not_found", message="no such model", param="body.model")


def found(data: bytes, *, cut: int = 1 << 20, max_lines: int = 1000) -> tuple[BatchError, ...]:
    check = InputCheck(CHAT, judge, max_lines)
    lines = data.splitlines(keepends=True) if b"\r" not in data else [data]
    pieces = [b"".join(lines[start : start + cut]) for start in range(0, len(lines), cut)]
    for piece in pieces:
        check.feed(piece)
        if check.is_over:
            break
    suspects = check.finish()
    duplicates = DuplicateCheck(suspects)
    for piece in pieces if suspects else []:
        duplicates.feed(piece)
    return merged(check.errors, duplicates.errors)


def codes(data: bytes, **options: int) -> set[tuple[int | None, str, str | None]]:
    return {(error.line, error.code, error.param) for error in found(data, **options)}


def line(**change: Any) -> bytes:
    whole = {"custom_id": "x", "method": "POST", "url": CHAT, "body": {"model": "a"}} | change
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode() + b"\n"


def expected(lines: list[dict[str, Any] | str]) -> set[tuple[int, str, str | None]]:
    """The rules, read slowly."""
    wrong: set[tuple[int, str, str | None]] = set()
    seen: set[str] = set()
    for number, entry in enumerate(lines, 1):
        if isinstance(entry, str):
            wrong.add((number, "invalid_json_line", None))
            continue
        wrong |= {
            (number, "missing_required_parameter", name)
            for name in ("custom_id", "method", "url", "body")
            if name not in entry
        }
        if entry.get("method", "POST") != "POST":
            wrong.add((number, "invalid_method", "method"))
        if entry.get("url", CHAT) != CHAT:
            wrong.add((number, "mismatched_url", "url"))
        if (body := entry.get("body")) is not None:
            if body.get("stream") is True:
                wrong.add((number, "streaming_unsupported", "body.stream"))
            if body.get("model") not in KNOWN:
                wrong.add((number, "model_not_found", "body.model"))
        if (custom_id := entry.get("custom_id")) is not None:
            if custom_id in seen:
                wrong.add((number, "duplicate_custom_id", "custom_id"))
            seen.add(custom_id)
    return wrong


bodies = st.fixed_dictionaries(
    {"messages": st.lists(st.text(max_size=5), max_size=2)},
    optional={"model": st.sampled_from(["a", "b", "c"]), "stream": st.booleans()},
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": st.sampled_from(["1", "2", "3", "ü", "long" * 30]),
        "method": st.sampled_from(["POST", "POST", "GET"]),
        "url": st.sampled_from([CHAT, CHAT, "/v1/embeddings"]),
        "body": bodies,
        "extra": st.integers(),
    },
)
broken = st.sampled_from(["{", "[]", '"text"', "nothing", '{"custom_id": 1,}', "1 2"])


@given(st.lists(entries | broken, min_size=1, max_size=12), st.integers(1, 5), st.booleans())
def test_all_errors_of_a_file_are_found_wherever_it_is_cut(
    lines: list[dict[str, Any] | str], cut: int, is_ended: bool
) -> None:
    texts = [entry if isinstance(entry, str) else json.dumps(entry) for entry in lines]
    data = ("\n".join(texts) + ("\n" if is_ended else "")).encode()
    assert codes(data, cut=cut) == expected(lines)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_no_bytes_whatever_break_the_reading(pieces: list[bytes]) -> None:
    check = InputCheck(CHAT, judge, 100)
    for piece in pieces:
        check.feed(piece)
    duplicates = DuplicateCheck(check.finish())
    for piece in pieces:
        duplicates.feed(piece)


def test_a_good_file_has_no_error() -> None:
    assert found(line(custom_id="1") + b"\n \r\n" + line(custom_id="2", body={"model": "b", "stream": False})) == ()


def test_an_empty_file_is_an_error_of_the_file() -> None:
    assert codes(b"") == codes(b"\n\n") == {(None, "empty_file", None)}


def test_too_many_lines_are_an_error_of_the_file() -> None:
    data = b"".join(line(custom_id=str(number)) for number in range(4))
    assert codes(data, max_lines=3) == {(None, "too_many_lines", None)}
    assert codes(data, max_lines=4) == set()


def test_bytes_that_are_not_text_are_found_in_their_line() -> None:
    data = line(custom_id="1") + line(custom_id="2").replace(b'"a"', b'"a", "q": "\xff"') + line(custom_id="3")
    assert codes(data) == {(2, "invalid_json_line", None)}


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"custom_id": 7}, "invalid_value", "custom_id"),
        ({"custom_id": ""}, "missing_required_parameter", "custom_id"),
        ({"body": [1]}, "invalid_value", "body"),
        ({"body": {"model": ["a"]}}, "invalid_value", "body.model"),
        ({"body": {"model": {"a": 1}}}, "invalid_value", "body.model"),
        ({"body": None}, "missing_required_parameter", "body"),
        ({"method": ["POST"]}, "invalid_method", "method"),
        ({"url": 5}, "mismatched_url", "url"),
    ],
)
def test_a_member_of_the_wrong_type_is_named(change: dict[str, Any], code: str, param: str) -> None:
    assert codes(line(**change)) == {(1, code, param)}


def test_deep_nesting_is_an_error_of_its_line() -> None:
    deep = b"[" * 100_000
    assert codes(b'{"custom_id": ' + deep + b"\n" + line()) == {(1, "invalid_json_line", None)}


def test_at_most_a_thousand_errors_are_listed() -> None:
    assert len(found(b"{\n" * 5000, max_lines=10_000)) == MOST_ERRORS
    assert len(found(line() * 5000, max_lines=10_000)) == MOST_ERRORS


def test_an_id_is_read_from_any_line() -> None:
    assert custom_id_of(line(custom_id="ü")) == "ü"
    assert custom_id_of(b"{") is None
    assert custom_id_of(b'{"custom_id": 1}') is None
