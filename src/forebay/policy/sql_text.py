"""SQL with named parameters (``:name``): what they are, and the statement as each database wants it. Pure.

The text is only looked through, never filled in: values are bound by the database's driver. Where this reads a piece of
SQL otherwise than the database does, the statement is refused there; no value becomes a part of it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.record import Record
from forebay.policy.nearest import hint

MOST_CHARACTERS = 100_000
_PIECE = re.compile(
    r"""
      (?P<skipped> (?<!\w)[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*`
                 | --[^\n]* | /\*.*?\*/ | (?<!\w)\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$ | ::|:= )
    | (?<![\w\])]):(?P<name>[A-Za-z_]\w*)
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_NOTHING_MORE = re.compile(r"(?:\s|;|--[^\n]*|/\*.*?\*/)*", re.DOTALL)


class Statement(Record, frozen=True, kw_only=True):
    """One statement. ``names``: its parameters, each once, in the order of their first places."""

    text: str
    names: tuple[str, ...]

    def with_places(self, place: Callable[[int, str], str]) -> str:
        """The text with what stands for each parameter: ``place`` gets its number, from 1, and its name."""
        numbers = {name: number for number, name in enumerate(self.names, 1)}

        def put(found: re.Match[str]) -> str:
            name = found["name"]
            return found[0] if name is None else place(numbers[name], name)

        return _PIECE.sub(put, self.text)


def read_statement(text: str, where: str = "query") -> Statement:
    """Raises: RequestError: it is empty, too long, or more than one statement."""
    if not text.strip() or "\0" in text or len(text) > MOST_CHARACTERS:
        raise RequestError(f"{where}: one statement of SQL, up to {MOST_CHARACTERS} characters", param=where)
    names: dict[str, None] = {}
    for found in _PIECE.finditer(text):
        if found["end"] is not None:
            if not _NOTHING_MORE.fullmatch(text, found.start()):
                raise RequestError(f"{where}: one statement, not several", param=where)
            text = text[: found.start()]
            break
        if found["name"] is not None:
            names[found["name"]] = None
    return Statement(text=text, names=tuple(names))


def bound_values(statement: Statement, body: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each parameter: of ``params``, which has no others; without it, of the body's own members, which
    may be other branches' as well. Raises: RequestError.
    """
    given = body.get("params")
    if given is None:
        given = {name: body[name] for name in statement.names if name in body}
    if not isinstance(given, Mapping):
        raise RequestError("params: an object of the query's parameters", param="params")
    for name in given:
        if name not in statement.names:
            message = f"The query has no parameter {name!r}{hint(str(name), statement.names)}"
            raise RequestError(message, param=f"params.{name}", code="unknown_parameter")
    for name in statement.names:
        if name not in given:
            message = f"The query's parameter {name!r} is missing"
            raise RequestError(message, param=f"params.{name}", code="missing_required_parameter")
    return dict(given)
