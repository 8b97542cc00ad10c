"""Bounds and reasons of JSON that we pass on unread: how deep it nests, and why it is none."""

import re

import msgspec

DEEPEST = 512  # every later reader, however deep its own stack, must be able to follow; models' schemas nest some ten
_BOM = b"\xef\xbb\xbf"
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def is_too_deep(data: bytes, deepest: int = DEEPEST) -> bool:
    """Whether arrays and objects stand in one another deeper than so."""
    if data.count(b"[") + data.count(b"{") <= deepest:
        return False
    depth = 0
    for token in _STRUCTURE.finditer(data):
        mark = token.group()[:1]
        if mark in b"[{":
            depth += 1
            if depth > deepest:
                return True
        elif mark != b'"':
            depth -= 1
    return False


def why_not_json(data: bytes, error: Exception) -> str:
    """Why a text is no JSON that we take, as the end of a sentence; ``error`` is the decoder's."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return f"nested deeper than {DEEPEST}"
    if data.startswith(_BOM):
        return "not valid JSON: it begins with a byte order mark; save the file as UTF-8 without one"
    reason = str(error).removeprefix("JSON is malformed: ")
    is_about_escape = isinstance(error, msgspec.DecodeError) and ("escape" in reason or "surrogate" in reason)
    if (is_about_escape or "truncated" in reason) and _LONE_SURROGATE.search(data) and _closes(data):
        return (
            "not valid JSON: it has a lone surrogate, half of a character (\\ud800 to \\udfff without its other half)"
        )
    return f"not valid JSON: {reason}"


def _closes(data: bytes) -> bool:
    """Whether the text ends as JSON ends, so that nothing of it can be missing."""
    return data.rstrip()[-1:] in {b"}", b"]", b'"'}
