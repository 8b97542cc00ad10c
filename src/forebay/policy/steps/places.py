"""Paths and addresses of steps: templates whose parameters, which callers give, can't lead out of what is written."""

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from forebay.domain.errors import RequestError
from forebay.policy.steps.effects import text
from forebay.policy.templates import compile_text

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
DATABASES = ("sqlite", "duckdb", "postgresql", "postgres")
_PARAMS = "params"
_DETAIL = ("run", "trigger", "detail")
_EVENT = "event"
_MARK = "\0"


def scheme_of(place: str) -> str:
    """The scheme of an address; empty for a path."""
    found = _SCHEME.match(place)
    return found.group(1).lower() if found else ""


def render_place(template: str, scope: Mapping[str, Any], *, option: str = "path") -> str:
    """The path or address. Where it names parameters of the run, they stay below the folder that the template writes
    before them: ``inbox/{params.file}`` is in ``inbox``, ``{params.file}`` in the pipeline's folder.

    Raises: RequestError: a value leads out; TemplateFieldMissing.
    """
    compiled = compile_text(template)
    if any(path[: len(_DETAIL)] == _DETAIL for path in compiled.paths) and _is_event(scope):
        message = 'takes what an event says through a parameter: `params: {file: "{detail.file}"}` of the trigger'
        raise RequestError(message, param=option)
    place = compiled.render_text(scope)
    if "\0" in place:
        raise RequestError("a path has no character 0", param=option)
    if _PARAMS not in compiled.fields:
        return place
    before = _before_params(template, scope)
    folder = before.rpartition("/")[0]
    if not _is_below(place, folder):
        shown = folder or "the pipeline's folder"
        raise RequestError(f"{place!r} leads out of {shown!r}, which the step has written before it", param=option)
    return place


def names_params(template: str) -> bool:
    """Whether a template takes what callers give."""
    return _PARAMS in compile_text(template).fields


def database_url(options: Mapping[str, Any]) -> str:
    """The address of a database, among a step's options. Raises: RequestError: callers choose it, or it is none."""
    url = text(options, "url")
    if names_params(url):
        raise RequestError("does not take params: who starts a run does not choose the database", param="url")
    if scheme_of(url) not in DATABASES:
        raise RequestError("is sqlite:///FILE, duckdb:///FILE or postgresql://…", param="url")
    return url


def _is_event(scope: Mapping[str, Any]) -> bool:
    """Whether an event began the run: whoever may send one chose what it says."""
    run = scope.get("run", {})
    return isinstance(run, Mapping) and (run.get("trigger") or {}).get("type") == _EVENT


def _before_params(template: str, scope: Mapping[str, Any]) -> str:
    """What stands before the first parameter, rendered."""
    compiled = compile_text(template)
    marked: dict[str, Any] = {}
    for path in compiled.paths:
        if path[0] == _PARAMS:
            _set(marked, path[1:])
    known = {**scope, _PARAMS: marked}
    return compiled.render_text(known).partition(_MARK)[0] if marked else ""


def _set(marked: dict[str, Any], path: tuple[Any, ...]) -> None:
    for step in path[:-1]:
        marked = marked.setdefault(step, {})
    if path:
        marked[path[-1]] = _MARK


def _is_below(place: str, folder: str) -> bool:
    if scheme_of(place) != scheme_of(folder + "/"):
        return False
    if scheme_of(place) and posixpath.normpath(place) != place.rstrip("/").replace("://", ":/", 1):
        return False  # an address has no `..` or empty steps: each store reads them its own way
    whole, base = posixpath.normpath(place), posixpath.normpath(folder) if folder else ""
    if not base or base == ".":
        return not whole.startswith(("/", "../")) and whole != ".."
    return whole.startswith(base.rstrip("/") + "/")
