"""Chunks cover their text, overlap as asked, and part no sign."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.chunking import Unit, chunks

TEXTS = st.text(
    alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("ab .!?\n\r\u0301\u200d👩🏽🇩🇪漢。")), max_size=200
)


@given(text=TEXTS, unit=st.sampled_from(Unit), size=st.integers(1, 40), overlap=st.integers(0, 39))
def test_every_character_that_is_no_space_stands_in_a_chunk(text: str, unit: Unit, size: int, overlap: int) -> None:
    spans = chunks(text, unit, size, min(overlap, size - 1))
    covered = {place for start, end in spans for place in range(start, end)}
    missing = [place for place in range(len(text)) if place not in covered and not text[place].isspace()]
    if unit is Unit.TOKENS:  # a sign that is no token, such as one that joins others, may stand between two
        missing = [place for place in missing if text[place].isalnum()]
    assert missing == []
    assert spans == sorted(spans)
    assert all(start < end for start, end in spans)
    assert all(not text[start].isspace() and not text[end - 1].isspace() for start, end in spans)


@given(text=st.text(alphabet="abc", min_size=1, max_size=300), size=st.integers(2, 50), overlap=st.integers(0, 49))
def test_characters_are_counted(text: str, size: int, overlap: int) -> None:
    overlap = min(overlap, size - 1)
    spans = chunks(text, Unit.CHARACTERS, size, overlap)
    assert all(end - start == size for start, end in spans[:-1])
    assert all(later[0] == former[1] - overlap for former, later in itertools.pairwise(spans))
    assert spans[-1][1] == len(text)


SIGNS = st.sampled_from(["e\u0301", "👩🏽", "🇩🇪", "👩\u200d👩", "x"])


@given(signs=st.lists(SIGNS, max_size=40), size=st.integers(4, 20))
def test_no_sign_is_parted(signs: list[str], size: int) -> None:
    bounds = {0, *itertools.accumulate(len(sign) for sign in signs)}
    found = chunks("".join(signs), Unit.CHARACTERS, size, 0)
    assert {place for span in found for place in span} <= bounds


@pytest.mark.parametrize(
    ("size", "overlap", "expected"),
    [
        (1, 0, ["One.", "Two!", "Drei?", "“Four.”", "五。"]),
        (2, 1, ["One. Two!", "Two! Drei?", "Drei? “Four.”", "“Four.” 五。"]),
    ],
)
def test_sentences_are_counted(size: int, overlap: int, expected: list[str]) -> None:
    text = " One. Two! Drei? “Four.” 五。 "
    assert [text[start:end] for start, end in chunks(text, Unit.SENTENCES, size, overlap)] == expected


def test_tokens_are_four_letters_or_one_sign() -> None:
    text = "internationalisation, 漢字"
    found = [text[start:end] for start, end in chunks(text, Unit.TOKENS, 3, 0)]
    assert found == ["internationa", "lisation,", "漢字"]


def test_a_blank_text_has_no_chunks() -> None:
    assert [chunks(text, unit, 3, 0) for unit in Unit for text in ("", " \n ")] == [[]] * 6
