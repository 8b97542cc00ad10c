"""A configuration file as a tree that knows its lines: YAML 1.2's core schema, or JSON."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MOST_NODES = 100_000  # aliases may multiply; a configuration has thousands at most
DEEPEST = 64
LONGEST_NUMBER = 200  # characters: what is longer is no number that a program can hold
ENVIRONMENT = "FOREBAY_"
_TAGS = "tag:yaml.org,2002:"
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    line: int | None
    key: str
    message: str

    def sentence(self, file: str) -> str:
        place = f"{file}, line {self.line}" if self.line else file
        if self.line is None and self.key.startswith(ENVIRONMENT):
            place = "the environment"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Item:
    """A value and its line. ``value`` is None, bool, int, float, str, a list of Items or a dict of Items."""

    value: Any
    line: int | None
    key: str  # the dotted path from the root


class Source:
    """Reads one text. Problems are gathered, so that a user sees all of them at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._nodes = 0
        self.problems: list[Problem] = []

    def parse(self, text: str) -> Item:
        """Returns the root; an empty file is an empty mapping."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML 1.2 allows it
                node = YAML(typ="rt", pure=True).compose(StringIO(text))
        except RecursionError:
            self.problems.append(Problem(_deepest_line(text), "", f"nested deeper than {DEEPEST}"))
            return Item({}, None, "")
        except MarkedYAMLError as exc:
            mark = exc.problem_mark or exc.context_mark
            reason = ", ".join(part for part in (exc.context, exc.problem) if part) or "not valid YAML"
            self.problems.append(Problem(mark.line + 1 if mark else None, "", reason))
            return Item({}, None, "")
        except YAMLError as exc:
            self.problems.append(Problem(None, "", f"not valid YAML: {str(exc).partition(chr(10))[0]}"))
            return Item({}, None, "")
        return Item({}, None, "") if node is None else self._item(node, "", 0)

    def _item(self, node: Node, key: str, depth: int) -> Item:
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > MOST_NODES or depth > DEEPEST:
            if self._nodes <= MOST_NODES + 1:
                self._nodes = MOST_NODES + 1
                self.problems.append(
                    Problem(line, key, f"nested deeper than {DEEPEST}, or more than {MOST_NODES} values")
                )
            return Item(None, line, key)
        if node.tag and not str(node.tag).startswith(_TAGS) and str(node.tag) != "!":
            self.problems.append(Problem(line, key, f"the tag {str(node.tag)!r} has no meaning here; remove it"))
        match node:
            case MappingNode():
                return Item(self._mapping(node, key, depth + 1), line, key)
            case SequenceNode():
                children = [self._item(child, f"{key}[{n}]", depth + 1) for n, child in enumerate(node.value)]
                return Item(children, line, key)
            case ScalarNode():
                return Item(self._scalar(node, line, key), line, key)
        raise TypeError(f"a YAML node of an unknown kind: {type(node).__name__}")

    def _mapping(self, node: MappingNode, key: str, depth: int) -> dict[str, Item]:
        items: dict[str, Item] = {}
        for name_node, value_node in node.value:
            if not isinstance(name_node, ScalarNode):
                self.problems.append(Problem(name_node.start_mark.line + 1, key, "a key must be a name"))
                continue
            name = str(name_node.value)
            path = f"{key}.{name}" if key else name
            if name in items:
                line = name_node.start_mark.line + 1
                self.problems.append(Problem(line, path, f"stands twice; first in line {items[name].line}"))
                continue
            items[name] = self._item(value_node, path, depth)
        return items

    def _scalar(self, node: ScalarNode, line: int, key: str) -> Any:
        text = _whole_characters(str(node.value))
        if node.style in {"'", '"', "|", ">"} or node.tag == "!":
            return self._expanded(text, line, key)
        return plain_value(text) if "${" not in text else self._expanded(text, line, key)

    def _expanded(self, text: str, line: int, key: str) -> str:
        def value_of(match: re.Match[str]) -> str:
            if match.group() == "$${":
                return "${"
            name, default = match.group(1), match.group(2)
            if name is None:
                message = "`${` begins a variable: write ${NAME} or ${NAME:-default}, or $${ for the characters"
                self.problems.append(Problem(line, key, message))
                return ""
            found = self._environ.get(name)
            if found is None and default is None:
                message = f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
                self.problems.append(Problem(line, key, message))
            return found or default or ""

        return _VARIABLE.sub(value_of, text)


def _deepest_line(text: str) -> int | None:
    """The line in which a text is nested too deeply; its events, unlike its nodes, are read without recursion."""
    depth = 0
    for event in YAML(typ="rt", pure=True).parse(StringIO(text)):
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                return int(event.start_mark.line) + 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
    return None


def _whole_characters(text: str) -> str:
    """Joins surrogate pairs, which JSON escapes the characters beyond the first 65,536 as."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def plain_value(text: str) -> Any:
    """An unquoted scalar by YAML 1.2's core schema: ``on``, ``yes`` and ``22:00`` are strings."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if len(text) > LONGEST_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
