"""Which steps a step reads and waits for: those of ``from`` and ``needs``, and those its SQL or templates name."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from forebay.domain.errors import RequestError
from forebay.domain.pipeline import StepKind
from forebay.policy.nearest import hint
from forebay.policy.templates import compile_body

RUN_NAMES = ("id", "pipeline", "date", "time", "trigger")
SCOPES = ("run", "params")
_BOUND = re.compile(r"\$(run|params)\s*(?:\.\s*(\w+)|\[\s*'([^']+)'\s*\])")  # `$params.least`, `$run['date']`
ONE_TABLE = frozenset(  # kinds that take the records of one step
    {
        StepKind.PYTHON,
        StepKind.CHUNK,
        StepKind.DEDUPE,
        StepKind.INFER,
        StepKind.FANOUT,
        StepKind.INDEX,
        StepKind.WRITE,
    }
)
BY_TEMPLATE = frozenset(  # kinds whose templates see the steps by their names
    {StepKind.INFER_ONCE, StepKind.REPORT, StepKind.NOTIFY, StepKind.PUBLISH, StepKind.CALL}
)


class Wiring(NamedTuple):
    """``needs`` has the ``inputs`` too."""

    inputs: tuple[str, ...]
    needs: tuple[str, ...]


def wired(
    name: str,
    kind: StepKind,
    options: Mapping[str, Any],
    given: Mapping[str, Sequence[str]],
    names: Sequence[str],
    tables_of: Callable[[str], Sequence[str]],
) -> Wiring:
    """Raises: RequestError: SQL that doesn't parse, or names what is no step; no input, or more than one where one is
    taken.
    """
    sources, needs = tuple(given["from"]), tuple(given["needs"])
    inputs = sources
    if kind is StepKind.SQL:
        inputs = _of_sql(options.get("query"), names, tables_of)
    elif kind in BY_TEMPLATE:
        _check_names(kind, options, names, sources)
        inputs = (*sources, *[one for one in _named(options) if one in names and one not in sources])
        inputs = (*inputs, *[one for one in needs if one not in inputs])
    elif kind in ONE_TABLE and not sources:
        inputs = _single(kind, needs)
    if len(inputs) > 1 and kind in ONE_TABLE:
        raise RequestError(f"takes one step's records, not those of {', '.join(inputs)}", param="from")
    if kind is StepKind.READ and sources:
        raise RequestError("reads from outside and takes no step's records", param="from")
    if name in inputs or name in needs:
        raise RequestError("needs itself", param="needs" if name in needs else "from")
    return Wiring(inputs=inputs, needs=tuple(dict.fromkeys((*inputs, *needs))))


def named_of(kind: StepKind, options: Mapping[str, Any]) -> set[tuple[str, str]]:
    """What a step's SQL or templates name of the run and its parameters: pairs such as ``params``, ``kind``."""
    if kind is StepKind.SQL:
        return {(scope, plain or quoted) for scope, plain, quoted in _BOUND.findall(str(options.get("query")))}
    paths = compile_body(options).paths
    return {(str(path[0]), str(path[1])) for path in paths if len(path) > 1 and path[0] in SCOPES}


def _check_names(kind: StepKind, options: Mapping[str, Any], names: Sequence[str], sources: Sequence[str]) -> None:
    """What templates name that see steps: a step, the run, a parameter. Of one event a record, its columns too."""
    if kind is StepKind.REPORT or (options.get("per") == "record" and sources):
        return
    for one in _named(options):
        if one not in names and one not in SCOPES:
            near = hint(one, [*names, *SCOPES]) or f"; there are {', '.join([*names, *SCOPES])}"
            raise RequestError(f"names {{{one}}}, and there is no such step{near}", param=kind.value)


def _of_sql(query: Any, names: Sequence[str], tables_of: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    if not isinstance(query, str):
        return ()
    try:
        found = tables_of(query)
    except RequestError as error:
        raise RequestError(error.message, param=StepKind.SQL.value) from error
    known = {name.lower(): name for name in names}
    for one in found:
        if one.lower() not in known:
            raise RequestError(f"reads {one!r}, and there is no such step{hint(one, names)}", param=StepKind.SQL.value)
    return tuple(dict.fromkeys(known[one.lower()] for one in found))


def _single(kind: StepKind, needs: Sequence[str]) -> tuple[str, ...]:
    if len(needs) == 1 or (kind is StepKind.PYTHON and not needs):  # a function may make records of nothing
        return tuple(needs)
    told = f"needs {', '.join(needs)}; say which of them it takes: `from`" if needs else "takes the records of no step"
    raise RequestError(f"{told} (`from: step`)" if not needs else told, param="from" if needs else kind.value)


def _named(options: Any) -> list[str]:
    return sorted(compile_body(options).fields)
