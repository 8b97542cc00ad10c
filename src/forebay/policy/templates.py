"""Templates: texts and JSON bodies with placeholders, compiled once and rendered for each record.

A placeholder is ``{`` name (``.name`` or ``[n]``)* ``}``; a name is letters, digits, ``_``, ``-``, or any text in
backquotes. Any other brace is literal, because prompts contain JSON; ``{{`` and ``}}`` are braces (but the ``}}`` that
ends two literal braces, as in ``{"a": {"b": 1}}``, is both of them). A value is never expanded again, and can't leave
its place. Alone in its string a placeholder keeps its type; inside text, what is not a
string goes in as JSON, null as nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forebay.domain.errors import TemplateFieldMissing

Step = str | int
Path = tuple[Step, ...]
_NAME = r"(?:[\w-]+|`[^`]+`)"
_TOKEN = re.compile(r"\{\{|\}\}|\{(" + _NAME + r"(?:\." + _NAME + r"|\[\d+\])*)\}")
_PATH = re.compile(_NAME + r"(?:\." + _NAME + r"|\[\d+\])*")
_STEP = re.compile(r"\[(\d+)\]|`([^`]+)`|([\w-]+)")


class Template:
    """One compiled text."""

    __slots__ = ("_parts", "fields", "paths")

    def __init__(self, parts: Sequence[str | Path]) -> None:
        self._parts = tuple(parts)
        self.paths = frozenset(part for part in parts if isinstance(part, tuple))
        self.fields = frozenset(str(path[0]) for path in self.paths)

    def render(self, scope: Mapping[str, Any]) -> Any:
        """Returns the text; for a placeholder alone, its value. Raises: TemplateFieldMissing, with the path."""
        if len(self._parts) == 1 and isinstance(self._parts[0], tuple):
            return _value(self._parts[0], scope)
        return "".join(part if isinstance(part, str) else _text(_value(part, scope)) for part in self._parts)

    def render_text(self, scope: Mapping[str, Any]) -> str:
        """As ``render``, but always text. Raises: TemplateFieldMissing."""
        return _text(self.render(scope))


class BodyTemplate:
    """A compiled JSON value: its strings are templates, its keys and other values stand as they are."""

    __slots__ = ("_value", "fields", "paths")

    def __init__(self, value: Any) -> None:
        self._value = _compile(value)
        self.paths = frozenset(_paths(self._value))
        self.fields = frozenset(str(path[0]) for path in self.paths)

    def render(self, scope: Mapping[str, Any]) -> Any:
        """Returns a new JSON value. Raises: TemplateFieldMissing, with the path."""
        return _render(self._value, scope)


def compile_text(text: str) -> Template:
    """Compiles a text; every text is a template."""
    parts: list[str | Path] = []
    braces = _Braces()
    end = 0
    for token in _TOKEN.finditer(text):
        before = text[end : token.start()]
        parts.append(before)
        braces.pass_over(before)
        parts.append(_path(token.group(1)) if token.group(1) else braces.doubled(token.group()))
        end = token.end()
    parts.append(text[end:])
    return Template(_joined(parts))


def compile_body(value: Any) -> BodyTemplate:
    """Compiles a decoded JSON value."""
    return BodyTemplate(value)


class _Braces:
    """Which literal braces are open, so that the end of nested JSON is told from a doubled brace."""

    def __init__(self) -> None:
        self._open: list[str] = []

    def pass_over(self, text: str) -> None:
        for character in text:
            if character == "{":
                self._open.append("{")
            elif character == "}" and self._open[-1:] == ["{"]:
                self._open.pop()

    def doubled(self, pair: str) -> str:
        """What ``{{`` or ``}}`` stands for here."""
        if pair == "{{":
            self._open.append("{{")
            return "{"
        if self._open[-2:] == ["{", "{"]:
            del self._open[-2:]
            return pair
        if self._open[-1:] == ["{{"]:
            self._open.pop()
        return "}"


def _path(text: str) -> Path:
    steps = _STEP.findall(text)
    return tuple(int(index) if index else quoted or name for index, quoted, name in steps)


def _joined(parts: Sequence[str | Path]) -> list[str | Path]:
    """Joins neighbouring texts and drops empty ones, so that a placeholder alone is one part."""
    joined: list[str | Path] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part:
            joined.append(part)
    return joined


def _value(path: Path, scope: Mapping[str, Any]) -> Any:
    value: Any = scope
    for step in path:
        if not _has(value, step):
            shown = show_path(path)
            raise TemplateFieldMissing(f"The template names {{{shown}}}, which the record lacks", param=shown)
        value = value[step]
    return value


def _has(value: Any, step: Step) -> bool:
    if isinstance(value, Mapping):
        return step in value
    return isinstance(step, int) and isinstance(value, list | tuple) and step < len(value)


def read_path(text: str) -> Path:
    """The steps of a path that stands alone, as ``choices[0].message``; none if the text is no path."""
    return _path(text) if _PATH.fullmatch(text) else ()


def show_path(path: Path) -> str:
    """The path as it is written in a template."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            name = step if re.fullmatch(r"[\w-]+", step) else f"`{step}`"
            shown += f".{name}" if shown else name
    return shown


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _compile(value: Any) -> Any:
    if isinstance(value, str):
        template = compile_text(value)
        return template if template.fields else template.render({})
    if isinstance(value, Mapping):
        return {key: _compile(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_compile(item) for item in value]
    return value


def _paths(value: Any) -> set[Path]:
    if isinstance(value, Template):
        return set(value.paths)
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {path for child in children for path in _paths(child)}


def _render(value: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(value, Template):
        return value.render(scope)
    if isinstance(value, dict):
        return {key: _render(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_render(item, scope) for item in value]
    return value
