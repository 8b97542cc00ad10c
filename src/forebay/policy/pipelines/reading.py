"""A pipeline, read: of the configuration, of a file of its own. Every refusal names the member that is wrong."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from forebay.domain.errors import InvalidPattern, RequestError
from forebay.domain.pipeline import INFERENCE_KINDS, CatchUp, Overlap, Pipeline, StepKind, StepSpec
from forebay.policy.durations import duration_seconds
from forebay.policy.matching import EventPattern
from forebay.policy.nearest import hint
from forebay.policy.pipelines.graph import Cycle, ordered
from forebay.policy.pipelines.inputs import RUN_NAMES, SCOPES, Wiring, named_of, wired
from forebay.policy.pipelines.options import SHORT, check_options
from forebay.policy.steps.tolerance import read_tolerance
from forebay.policy.triggers import read_triggers, read_windows

MEMBERS = (
    *("on", "overlap", "catch_up", "catch_up_limit", "budget_usd", "budget_tokens", "params", "description", "windows"),
    "steps",
)
STEP_MEMBERS = ("from", "needs", "when", "retries", "timeout", "tolerate_failures", "windows")
MOST_STEPS = 200
WORKING_SECONDS = 3600.0  # how long a step may take, where it does not say
ASKING_SECONDS = 30 * 86_400.0  # likewise, of one that asks models: as long as a run
MOST_RETRIES = 100
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_PIPELINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_TAKEN = ("run", "params", "event", "trigger")  # what templates call other things

TablesOf = Callable[[str], Sequence[str]]


class PipelineProblem(Exception):
    """What is wrong with a pipeline: every fault that was found, each with its path (``steps.label.needs``)."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in faults))
        self.faults = tuple(faults)


def read_pipeline(name: str, value: Any, tables_of: TablesOf, *, folder: str = ".") -> Pipeline:
    """Reads a pipeline. ``tables_of``: the relations that a SQL text reads. Raises: PipelineProblem."""
    return _Reading(name, value, tables_of, folder).read()


class _Reading:
    """Gathers faults, so that a user sees all of them at once."""

    def __init__(self, name: str, value: Any, tables_of: TablesOf, folder: str) -> None:
        self._name = name
        self._value = value
        self._tables_of = tables_of
        self._folder = folder
        self._faults: list[tuple[str, str]] = []

    def read(self) -> Pipeline:
        if not isinstance(self._value, Mapping):
            raise PipelineProblem([("", "must be a mapping with `steps`")])
        members: Mapping[str, Any] = self._value
        if not _PIPELINE.fullmatch(self._name):
            self._wrong("", "a pipeline's name is letters, digits, `_`, `.` and `-`, at most 128")
        self._only(members, MEMBERS, "")
        params = self._mapping(members, "params")
        steps = self._steps(members.get("steps"), frozenset(params))
        pipeline = Pipeline(
            name=self._name,
            steps=steps,
            triggers=self._try("on", lambda: read_triggers(members.get("on"), self._name), ()),
            overlap=self._choice(members, "overlap", Overlap, Overlap.SKIP),
            catch_up=self._choice(members, "catch_up", CatchUp, CatchUp.NONE),
            catch_up_limit=int(self._number(members, "catch_up_limit", whole=True) or 100),
            budget_usd=self._number(members, "budget_usd"),
            budget_tokens=_whole(self._number(members, "budget_tokens", whole=True)),
            params=params,
            description=self._text(members, "description"),
            folder=self._folder,
            windows=self._try("windows", lambda: read_windows(members.get("windows")), ()),
        )
        for trigger in pipeline.triggers:
            for param in trigger.params:
                if param not in params:
                    self._wrong("on", f"{trigger.name}: there is no parameter {param!r}{hint(param, params)}")
        if self._faults:
            raise PipelineProblem(self._faults)
        return pipeline

    def _steps(self, value: Any, params: frozenset[str]) -> tuple[StepSpec, ...]:
        if not isinstance(value, Mapping) or not value:
            self._wrong("steps", "must be a mapping of one step or more")
            return ()
        if len(value) > MOST_STEPS:
            self._wrong("steps", f"at most {MOST_STEPS} steps, not {len(value)}")
            return ()
        names = [str(name) for name in value]
        found: dict[str, StepSpec] = {}
        for name, entry in value.items():
            step = self._step(str(name), entry, names, params)
            if step is not None:
                found[step.name] = step
        try:
            order = ordered({name: step.needs for name, step in found.items()})
        except Cycle as cycle:
            self._wrong(f"steps.{cycle.path[0]}", f"needs itself: {cycle}")
            return ()
        return tuple(found[name] for name in order)

    def _step(self, name: str, entry: Any, names: Sequence[str], params: frozenset[str]) -> StepSpec | None:
        at = f"steps.{name}"
        if not _NAME.fullmatch(name) or name in _TAKEN:
            taken = f"; not {', '.join(_TAKEN)}"
            self._wrong(at, f"a step's name is letters, digits, `_` and `-`, no digit first, at most 64{taken}")
        if not isinstance(entry, Mapping):
            self._wrong(at, "must be a mapping such as {sql: …}")
            return None
        kinds = [kind for kind in StepKind if kind.value in entry]
        if len(kinds) != 1:
            known = ", ".join(StepKind)
            if kinds:
                self._wrong(at, f"has {' and '.join(kinds)}: a step does one thing")
                return None
            unknown = [str(key) for key in entry if key not in STEP_MEMBERS]
            near = "".join(hint(key, [kind.value for kind in StepKind]) for key in unknown[:1])
            self._wrong(at, f"says nothing to do: one of {known}{near}")
            return None
        kind = kinds[0]
        self._only(entry, (kind.value, *STEP_MEMBERS), at)
        options = self._options(kind, entry[kind.value], at)
        wiring = self._wiring(name, kind, options, entry, names)
        self._check_scope(kind, options, params, f"{at}.{kind.value}")
        return StepSpec(
            name=name,
            kind=kind,
            options=options,
            inputs=wiring.inputs,
            needs=wiring.needs,
            when=self._when(entry, names, at),
            retries=int(self._number(entry, "retries", at=at, whole=True, most=MOST_RETRIES, default=2) or 0),
            timeout_seconds=self._seconds(entry, "timeout", at) or _timeout(kind),
            tolerance=self._try(
                f"{at}.tolerate_failures",
                lambda: read_tolerance(entry.get("tolerate_failures")),
                read_tolerance(None),
            ),
            windows=self._try(f"{at}.windows", lambda: read_windows(entry.get("windows")), ()),
        )

    def _options(self, kind: StepKind, value: Any, at: str) -> dict[str, Any]:
        where = f"{at}.{kind.value}"
        if isinstance(value, str) and kind in SHORT:
            options: dict[str, Any] = {SHORT[kind]: value}
        elif isinstance(value, Mapping):
            options = dict(value)
        else:
            shown = "a text or a mapping" if kind in SHORT else "a mapping"
            self._wrong(where, f"must be {shown} of its options")
            return {}
        try:
            check_options(kind, options)
        except RequestError as error:
            inner = f"{where}.{error.param}" if error.param else where
            self._wrong(inner, error.message)
        return options

    def _wiring(
        self, name: str, kind: StepKind, options: Mapping[str, Any], entry: Mapping[str, Any], names: Sequence[str]
    ) -> Wiring:
        at = f"steps.{name}"
        given = {key: self._names(entry, key, names, at) for key in ("from", "needs")}
        try:
            return wired(name, kind, options, given, names, self._tables_of)
        except RequestError as error:
            self._wrong(f"{at}.{error.param}" if error.param else at, error.message)
            return Wiring(inputs=(), needs=())

    def _names(self, entry: Mapping[str, Any], key: str, names: Sequence[str], at: str) -> tuple[str, ...]:
        value = entry.get(key)
        listed = [value] if isinstance(value, str) else value or []
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            self._wrong(f"{at}.{key}", "must be a step, or a list of steps")
            return ()
        for one in listed:
            if one not in names:
                self._wrong(f"{at}.{key}", f"there is no step {one!r}{hint(one, names)}")
        return tuple(one for one in listed if one in names)

    def _when(self, entry: Mapping[str, Any], names: Sequence[str], at: str) -> Any:
        pattern = entry.get("when")
        if pattern is None:
            return None
        seen = [*names, *SCOPES, "$or"]
        for one in pattern if isinstance(pattern, Mapping) else ():
            if one not in seen:
                self._wrong(f"{at}.when.{one}", f"there is no step {str(one)!r}{hint(str(one), seen)}")
        try:
            EventPattern(pattern)
        except InvalidPattern as error:
            self._wrong(f"{at}.when", error.reason)
        return pattern

    def _check_scope(self, kind: StepKind, options: Mapping[str, Any], params: frozenset[str], at: str) -> None:
        """What templates name of the run and its parameters is known before anything runs."""
        for scope, member in named_of(kind, options):
            if scope == "params" and member not in params:
                known = hint(member, params) or f"; declared: {', '.join(sorted(params)) or 'none'}"
                self._wrong(at, f"names {{params.{member}}}, which `params` does not declare{known}")
            if scope == "run" and member not in RUN_NAMES:
                self._wrong(at, f"names {{run.{member}}}; a run has {', '.join(RUN_NAMES)}")

    def _only(self, members: Mapping[str, Any], known: Sequence[str], at: str) -> None:
        for key in members:
            if key not in known:
                path = f"{at}.{key}" if at else str(key)
                self._wrong(path, f"unknown key{hint(str(key), known) or '; known: ' + ', '.join(known)}")

    def _mapping(self, members: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = members.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self._wrong(key, "must be a mapping of names and defaults; null for one that must be given")
            return {}
        return {str(name): one for name, one in value.items()}

    def _text(self, members: Mapping[str, Any], key: str) -> str | None:
        value = members.get(key)
        if value is not None and not isinstance(value, str):
            self._wrong(key, "must be a text")
            return None
        return value

    def _choice(self, members: Mapping[str, Any], key: str, kind: type[Any], default: Any) -> Any:
        value = members.get(key)
        if value is None:
            return default
        known = [one.value for one in kind]
        if value not in known:
            self._wrong(key, f"{value!r} is not one of {', '.join(known)}{hint(str(value), known)}")
            return default
        return kind(value)

    def _number(
        self,
        members: Mapping[str, Any],
        key: str,
        *,
        at: str = "",
        whole: bool = False,
        most: float | None = None,
        default: float | None = None,
    ) -> float | None:
        value = members.get(key)
        if value is None:
            return default
        is_number = isinstance(value, int) or (isinstance(value, float) and not whole)
        if isinstance(value, bool) or not is_number or value < 0 or (most is not None and value > most):
            what = "a whole number" if whole else "a number"
            bound = f" of at most {most:g}" if most is not None else " that is not negative"
            self._wrong(f"{at}.{key}" if at else key, f"must be {what}{bound}, not {value!r}")
            return default
        return float(value)

    def _seconds(self, members: Mapping[str, Any], key: str, at: str) -> float | None:
        value = members.get(key)
        if isinstance(value, str):
            seconds = duration_seconds(value)
            if not seconds:
                self._wrong(f"{at}.{key}", f"must be a duration such as 90s or 15m, not {value!r}")
            return seconds
        return self._number(members, key, at=at)

    def _try(self, path: str, read: Callable[[], Any], default: Any) -> Any:
        try:
            return read()
        except RequestError as error:
            self._wrong(_place(path, error.param), error.message.removeprefix(f"{error.param}: "))
            return default

    def _wrong(self, path: str, message: str) -> None:
        self._faults.append((path, message))


def _place(path: str, param: str | None) -> str:
    """Where a member is that was read at a path: it may be named from there, or as a whole."""
    name = path.rpartition(".")[2]
    if not param or path.endswith(param):
        return path
    return path.removesuffix(name) + param if param.startswith((f"{name}[", f"{name}.")) else f"{path}.{param}"


def _timeout(kind: StepKind) -> float:
    return ASKING_SECONDS if kind in INFERENCE_KINDS else WORKING_SECONDS


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
