"""Wildcards in paths and keys: ``*``, ``?`` and ``[…]`` stay within a step of the path, ``**`` does not. Pure."""

import re

_MAGIC = re.compile(r"[*?\[]")


def is_wild(pattern: str) -> bool:
    """Whether it has a wildcard."""
    return _MAGIC.search(pattern) is not None


def fixed_folder(pattern: str) -> str:
    """The folder above the first wildcard, or above the name; '' where there is none."""
    return _MAGIC.split(pattern, maxsplit=1)[0].rpartition("/")[0]


def is_deep(pattern: str) -> bool:
    """Whether it names files in folders below its fixed one."""
    return "/" in pattern.removeprefix(fixed_folder(pattern)).lstrip("/") or "**" in pattern


def key_expression(pattern: str) -> re.Pattern[str]:
    """What the keys that it means match in full. One that ends in a slash means all below it."""
    return re.compile(_expression(pattern + "**" if pattern.endswith("/") or not pattern else pattern), re.DOTALL)


def _expression(pattern: str) -> str:
    out, place = "", 0
    while place < len(pattern):
        if pattern.startswith("**/", place):
            out, place = out + "(?:.*/)?", place + 3
        elif pattern.startswith("**", place):
            out, place = out + ".*", place + 2
        elif pattern[place] in "*?":
            out, place = out + ("[^/]*" if pattern[place] == "*" else "[^/]"), place + 1
        elif pattern[place] == "[" and (end := pattern.find("]", place + 2)) > 0:
            inner = pattern[place + 1 : end].replace("\\", "\\\\")
            out, place = out + "[" + ("^" + inner[1:] if inner[0] == "!" else inner.replace("^", "\\^")) + "]", end + 1
        else:
            out, place = out + re.escape(pattern[place]), place + 1
    return out
