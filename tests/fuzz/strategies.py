"""What the fuzzers share: how many examples they try, hostile JSON, and damage done to valid bytes.

By default the examples are the same in every run, so that CI never flakes; ``FOREBAY_FUZZ=20`` tries twenty times as
many, and others each time.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FACTOR = int(os.environ.get("FOREBAY_FUZZ", "0"))

LONE_SURROGATES = st.sampled_from([r"\ud800", r"\udfff", r"x\ud83dy"])
#: Numbers as JSON's grammar has them and few programs do.
HUGE_NUMBERS = st.sampled_from(
    ["1e400", "-1e400", "1E+999999", "9" * 30, "-" + "9" * 400, "18446744073709551616", "0.1" + "0" * 400, "1e-400"]
)
NASTY_TEXTS = st.sampled_from(
    ["", "\0", "\ufeff", "{text}", "{{", "}}", "${HOME}", "'; --", "\u2028", "%00", "../..", "𝄞", "\x1b[31m", "ſ", "²"]
)
TEXTS = st.text(max_size=12) | NASTY_TEXTS
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
JSON_VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
JSON_OBJECTS = st.dictionaries(TEXTS, JSON_VALUES, max_size=4)
DAMAGE = st.sampled_from(
    [
        b"",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\r\n",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[" * 2000,
        b",",
        b":",
        b" ",
    ]
)


def fuzz(examples: int) -> settings:
    """Settings of one fuzzer that tries so many examples in CI."""
    return settings(
        max_examples=examples * max(FACTOR, 1),
        derandomize=not FACTOR,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )


@st.composite
def damaged(draw: st.DrawFn, valid: st.SearchStrategy[bytes], most: int = 4) -> bytes:
    """Valid bytes of which some were cut out, doubled or replaced."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, len(data)))
        end = min(start + draw(st.sampled_from([0, 0, 1, 2, 10])), len(data))
        kept = bytes(data[start:end]) if draw(st.booleans()) else b""
        data[start:end] = draw(DAMAGE | st.binary(max_size=3)) + kept
    return bytes(data)


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> Sequence[bytes]:
    """The same bytes, in pieces as a network may bring them."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@st.composite
def raw_json(draw: st.DrawFn) -> str:
    """Valid JSON text with what Python's own writer never writes: huge numbers, doubled keys, odd spaces, depth."""
    value: Any = draw(JSON_VALUES)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    match draw(st.integers(0, 3)):
        case 0:
            return draw(HUGE_NUMBERS)
        case 1:
            return '{"same": ' + text + ', "same" :\t' + draw(HUGE_NUMBERS) + "}"
        case 2:
            return "[" * (depth := draw(st.integers(1, 60))) + text + "]" * depth
    return text
