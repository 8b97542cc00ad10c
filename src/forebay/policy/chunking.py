"""Cutting of long texts into overlapping pieces. Positions count characters (code points), from 0.

A token is approximated: at most four letters or digits in a row of one word, or one other character (a sign, an
ideograph, an emoji). Tokenizers of models differ by some tens of percent from it, in either direction.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from enum import StrEnum

LETTERS_OF_TOKEN = 4
#: Scripts that write without spaces: each character is a token.
_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_DENSE}]|[^\W{_DENSE}]{{1,{LETTERS_OF_TOKEN}}}|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'»”’)\]]*(?=\s|$)|[。！？]+[」』”]*|\n\s*\n")
_JOINER = "\u200d"
_EMOJI_MODIFIERS = range(0x1F3FB, 0x1F400)
_REGIONAL = range(0x1F1E6, 0x1F200)
_VARIATIONS = range(0xFE00, 0xFE10)
_FARTHEST = 32  # characters that a boundary moves back at most, so as not to part what is one sign

Span = tuple[int, int]


class Unit(StrEnum):
    """What size and overlap count."""

    CHARACTERS = "characters"
    SENTENCES = "sentences"
    TOKENS = "tokens"


def chunks(text: str, unit: Unit, size: int, overlap: int) -> list[Span]:
    """Where the chunks stand: each of ``size`` units, the last perhaps of fewer, sharing ``overlap`` units with the
    one before it. Blank ends are left out; a blank text has none.
    """
    if unit is Unit.CHARACTERS:
        spans = _by_characters(text, size, overlap)
    else:
        units = _sentences(text) if unit is Unit.SENTENCES else [found.span() for found in _TOKEN.finditer(text)]
        spans = _windows(units, size, overlap)
    trimmed = (_trimmed(text, span) for span in spans)
    return [span for span in trimmed if span[0] < span[1]]


def _by_characters(text: str, size: int, overlap: int) -> Iterator[Span]:
    start = 0
    while start < len(text):
        end = _boundary(text, min(start + size, len(text)), start)
        yield start, end
        if end == len(text):
            return
        start = max(_boundary(text, end - overlap, start), start + 1) if overlap else end


def _windows(units: Sequence[Span], size: int, overlap: int) -> Iterator[Span]:
    for first in range(0, len(units), size - overlap):
        last = min(first + size, len(units)) - 1
        yield units[first][0], units[last][1]
        if last == len(units) - 1:
            return


def _sentences(text: str) -> list[Span]:
    spans, start = [], 0
    for found in _SENTENCE_END.finditer(text):
        spans.append(_trimmed(text, (start, found.end())))
        start = found.end()
    spans.append(_trimmed(text, (start, len(text))))
    return [span for span in spans if span[0] < span[1]]


def _trimmed(text: str, span: Span) -> Span:
    start, end = span
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _boundary(text: str, place: int, least: int) -> int:
    """The place itself, or the nearest before it that parts no sign; itself where that is too far."""
    for back in range(min(_FARTHEST, place - least - 1)):
        if not _is_joined(text, place - back):
            return place - back
    return place


def _is_joined(text: str, place: int) -> bool:
    """Whether the characters before and after a place are one to who reads them."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    code = ord(after)
    if after == _JOINER or before == _JOINER or code in _EMOJI_MODIFIERS or code in _VARIATIONS:
        return True
    if before == "\r" and after == "\n":
        return True
    if code in _REGIONAL and ord(before) in _REGIONAL:
        flags = 0
        while flags < place and ord(text[place - 1 - flags]) in _REGIONAL:
            flags += 1
        return flags % 2 == 1
    return unicodedata.category(after).startswith("M")
