"""Lines of a streamed request."""

from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from forebay.api.lines import lines_of


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def cut(*parts: bytes, longest: int = 100) -> list[bytes | None]:
    return [line async for line in lines_of(pieces(*parts), longest)]


async def test_lines_are_whole_however_they_were_sent() -> None:
    assert await cut(b"on", b"e\ntw", b"o\nthree") == [b"one", b"two", b"three"]


async def test_blank_lines_and_carriage_returns_are_no_lines() -> None:
    assert await cut(b"one\r\n\r\n  \ntwo\n\n") == [b"one", b"two"]


async def test_a_line_that_is_too_long_is_passed_over_and_the_next_is_whole() -> None:
    assert await cut(b"x" * 60, b"x" * 60, b"x\nok\n", longest=100) == [None, b"ok"]


async def test_a_line_too_long_at_the_end_is_told_too() -> None:
    assert await cut(b"ok\n", b"x" * 101) == [b"ok", None]


async def test_a_line_too_long_within_one_piece_is_told() -> None:
    assert await cut(b"x" * 101 + b"\nok") == [None, b"ok"]


@given(st.lists(st.binary(max_size=20)), st.integers(min_value=1, max_value=7))
async def test_where_the_pieces_end_changes_nothing(lines: list[bytes], size: int) -> None:
    whole = b"\n".join(lines)
    parts = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert await cut(*parts, longest=10) == await cut(whole, longest=10)
