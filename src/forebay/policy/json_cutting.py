"""Cutting JSON that comes in pieces: the elements of one array, one by one, so that the whole never stands in memory.

Pure. What is cut out is delimited, not judged: whoever decodes it finds what is wrong inside.
"""

import re
from enum import Enum, auto

from forebay.policy.json_text import DEEPEST

MOST_OTHERS = 100
_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)  # up to its quotation mark, or a backslash at the end
_STRUCTURE = re.compile(rb'["\[\]{}]')
_SCALAR = re.compile(rb"[^,:\[\]{}\" \t\n\r]*")
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_OPENING, _CLOSING = b"[{", b"]}"


class NotJson(ValueError):
    """The text is no object of members, or ends too soon; the message is the end of a sentence."""


class TooLong(ValueError):
    """One value is longer than may be held."""


class _At(Enum):
    """What comes next."""

    BEGIN = auto()  # `{`
    FIRST_KEY = auto()  # a key or `}`
    KEY = auto()
    COLON = auto()
    VALUE = auto()
    AFTER_VALUE = auto()  # `,` or `}`
    FIRST_ELEMENT = auto()  # an element or `]`
    ELEMENT = auto()
    AFTER_ELEMENT = auto()  # `,` or `]`
    END = auto()  # nothing more


# Where a mark leads to, by where it may stand.
_MARKS: dict[_At, dict[int, _At]] = {
    _At.BEGIN: {ord("{"): _At.FIRST_KEY},
    _At.COLON: {ord(":"): _At.VALUE},
    _At.AFTER_VALUE: {ord(","): _At.KEY, ord("}"): _At.END},
    _At.AFTER_ELEMENT: {ord(","): _At.ELEMENT, ord("]"): _At.AFTER_VALUE},
    _At.END: {},
}


class ArrayCutter:
    """Reads ``{"<name>": [element, …], …}``. ``others`` are the other members, as they were written."""

    def __init__(self, name: str, *, longest_bytes: int, longest_other_bytes: int = 64 * 1024) -> None:
        self.others: dict[bytes, bytes] = {}
        self.is_found = False
        self._name = f'"{name}"'.encode()
        self._longest = longest_bytes
        self._longest_other = longest_other_bytes
        self._held = bytearray()
        self._start = 0  # of the value under way
        self._place = 0  # up to where it was looked at
        self._depth = 0
        self._is_in_string = self._is_in_scalar = False
        self._at = _At.BEGIN
        self._key = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Takes the next piece and returns the elements that are whole now. Raises: NotJson, TooLong."""
        self._held += piece
        elements: list[bytes] = []
        while self._step(elements):
            pass
        del self._held[: self._start]
        self._place -= self._start
        self._start = 0
        return elements

    def finish(self) -> None:
        """Raises: NotJson: the text ended too soon."""
        if self._at is not _At.END:
            raise NotJson("not valid JSON: input data was truncated")

    def _step(self, elements: list[bytes]) -> bool:
        """One mark or value; False: more of the text is needed."""
        if self._place == self._start:  # between two values
            self._start = self._place = self._after_space()
            if self._start == len(self._held):
                return False
            mark = self._held[self._start]
            if self._at is _At.FIRST_KEY and mark == ord("}"):
                return self._pass(_At.END)
            if self._at is _At.FIRST_ELEMENT and mark == ord("]"):
                return self._pass(_At.AFTER_VALUE)
            if self._at in _MARKS:
                return self._pass(_MARKS[self._at].get(mark))
            if self._at is _At.VALUE and self._key == self._name:
                return self._enter(mark)
            self._begin(mark)
        value = self._value()
        if value is None:
            return False
        self._take(value, elements)
        return True

    def _pass(self, following: _At | None) -> bool:
        if following is None:
            raise NotJson(f"not valid JSON: unexpected {chr(self._held[self._start])!r}")
        self._start += 1
        self._place = self._start
        self._at = following
        return True

    def _enter(self, mark: int) -> bool:
        if mark != ord("["):
            raise NotJson(f"not valid: {self._name.decode()} must be an array")
        if self.is_found:
            raise NotJson(f"not valid: {self._name.decode()} stands in it twice")
        self.is_found = True
        return self._pass(_At.FIRST_ELEMENT)

    def _begin(self, mark: int) -> None:
        """Looks at a value's first byte."""
        if self._at in {_At.KEY, _At.FIRST_KEY} and mark != _QUOTE:
            raise NotJson(f"not valid JSON: unexpected {chr(mark)!r} where a key must stand")
        if mark in b",:]}":
            raise NotJson(f"not valid JSON: unexpected {chr(mark)!r}")
        self._is_in_string = mark == _QUOTE
        self._depth = 1 if mark in _OPENING else 0
        self._is_in_scalar = not (self._is_in_string or self._depth)
        self._place = self._start + 1

    def _value(self) -> bytes | None:
        """The value under way when its end is here; None: it goes on."""
        held, end = self._held, len(self._held)
        while self._place < end:
            if self._is_in_scalar:
                self._place = _SCALAR.match(held, self._place).end()  # type: ignore[union-attr]  # it matches nothing too
                if self._place < end:
                    return self._cut()
                break
            if self._is_in_string:
                self._place = _STRING.match(held, self._place).end()  # type: ignore[union-attr]  # likewise
                if self._place == end or held[self._place] == _BACKSLASH:
                    break
                self._place += 1
                self._is_in_string = False
            elif not self._depth_after_next():
                break
            if not self._depth and not self._is_in_string:
                return self._cut()
        self._check_length(end)
        return None

    def _depth_after_next(self) -> bool:
        """Goes behind the next mark of a container; False: there is none in what is held."""
        found = _STRUCTURE.search(self._held, self._place)
        if found is None:
            self._place = len(self._held)
            return False
        mark = found.group()
        self._place = found.end()
        if mark == b'"':
            self._is_in_string = True
        elif mark in _OPENING:
            self._depth += 1
            if self._depth > DEEPEST:
                raise NotJson(f"nested deeper than {DEEPEST}")
        else:
            self._depth -= 1
        return True

    def _cut(self) -> bytes:
        self._check_length(self._place)
        value = bytes(self._held[self._start : self._place])
        self._start = self._place
        return value

    def _check_length(self, end: int) -> None:
        longest = self._longest if self._at in {_At.ELEMENT, _At.FIRST_ELEMENT} else self._longest_other
        if end - self._start > longest:
            raise TooLong(longest)

    def _take(self, value: bytes, elements: list[bytes]) -> None:
        match self._at:
            case _At.KEY | _At.FIRST_KEY:
                self._key = value
                self._at = _At.COLON
            case _At.VALUE:
                if len(self.others) == MOST_OTHERS:
                    raise NotJson(f"not valid: it has more than {MOST_OTHERS} members")
                self.others[self._key] = value
                self._at = _At.AFTER_VALUE
            case _:
                elements.append(value)
                self._at = _At.AFTER_ELEMENT

    def _after_space(self) -> int:
        found = _SPACE.match(self._held, self._start)
        return found.end() if found else self._start
