"""The key ``pipelines`` of the configuration: a mapping by name, each written here or in a file of its own."""

from collections.abc import Mapping
from pathlib import Path

from forebay.connectors.drivers import connector
from forebay.connectors.statements import tables_of
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import INFERENCE_KINDS, Pipeline, StepKind
from forebay.domain.target import Route, TargetSpec
from forebay.policy.nearest import hint
from forebay.policy.pipelines import PipelineProblem, read_pipeline
from forebay.policy.pipelines.graph import Cycle, ordered
from forebay.policy.resolution import Resolver
from forebay.settings.reading import Reader
from forebay.settings.rules import item_at, plain
from forebay.settings.source import Item, Problem, Source

FORMS = (".yaml", ".yml", ".json")


def read_pipelines(
    root: Reader, folder: Path, known: tuple[tuple[TargetSpec, ...], tuple[Route, ...]], environ: Mapping[str, str]
) -> dict[str, Pipeline]:
    """Reads ``pipelines``; what is wrong is told with the file and line where it stands."""
    targets = [spec.name for spec in known[0]]
    names = [*targets, *[route.name for route in known[1]]]
    found: dict[str, Pipeline] = {}
    places: dict[str, Item] = {}
    for name, item in root.mapping("pipelines").items.items():
        base, body = folder, item
        if isinstance(item.value, str):
            path = folder / item.value
            base, own = path.parent, _file(path, root, item, environ)
            if own is None:
                continue
            body = own
        try:
            pipeline = read_pipeline(name, plain(body), tables_of, folder=str(base))
        except PipelineProblem as problem:
            for at, message in problem.faults:
                root.wrong(item_at(body, at), message)
            continue
        found[name], places[name] = pipeline, body
        count = len(root.problems)
        _check_targets(pipeline, body, targets, names, root)
        if len(root.problems) == count:
            _check_models(pipeline, body, Resolver(*known), root)
        _check_reports(pipeline, body, root)
    _check_calls(found, places, root)
    _check_names(found, places, root)
    return found


def _file(path: Path, root: Reader, item: Item, environ: Mapping[str, str]) -> Item | None:
    """A pipeline's own file. Its problems carry its name, since their lines are of another file."""
    if path.suffix.lower() not in FORMS:
        root.wrong(item, f"must be a mapping with `steps`, or a file that has one: {', '.join(FORMS)}")
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        root.wrong(item, f"{path} can't be read: {exc.strerror if isinstance(exc, OSError) else 'it is not UTF-8'}")
        return None
    source = Source(environ)
    read = source.parse(text)
    root.problems.extend(Problem(None, item.key, one.sentence(str(path))) for one in source.problems)
    return None if source.problems else _placed(read, str(path), item.key)


def _placed(item: Item, file: str, key: str) -> Item:
    """The tree of another file: each place in it tells the file and the line."""
    told = f"{key} ({file}, line {item.line})" if item.line else f"{key} ({file})"
    value = item.value
    if isinstance(value, dict):
        value = {name: _placed(child, file, f"{key}.{name}") for name, child in value.items()}
    elif isinstance(value, list):
        value = [_placed(child, file, f"{key}[{number}]") for number, child in enumerate(value)]
    return Item(value, None, told)


def _check_models(pipeline: Pipeline, item: Item, resolver: Resolver, root: Reader) -> None:
    """A model that nobody serves is told before anything runs; of steps that name their target, or a template."""
    for step in pipeline.steps:
        options = step.options
        body = options.get("body")
        model = options.get("model") or (body.get("model") if isinstance(body, dict) else None)
        if step.kind not in {StepKind.INFER, StepKind.INFER_ONCE} or not isinstance(model, str) or "{" in model:
            continue
        try:
            resolver.resolve(target=options.get("target"), model=model, endpoint=options.get("endpoint"))
        except RequestError as error:
            root.wrong(item_at(item, f"steps.{step.name}.{step.kind.value}.model"), error.message)


def _check_reports(pipeline: Pipeline, item: Item, root: Reader) -> None:
    for step in pipeline.steps:
        if step.kind is StepKind.REPORT and (
            told := connector("reports").template_problem(step.options, Path(pipeline.folder))
        ):
            root.wrong(item_at(item, f"steps.{step.name}.report"), told)


def _check_targets(pipeline: Pipeline, item: Item, targets: list[str], names: list[str], root: Reader) -> None:
    for step in pipeline.steps:
        if step.kind not in INFERENCE_KINDS:
            continue
        target = step.options.get("target")
        several = step.options.get("targets") or []
        for one in [target, *several]:
            name = one.partition("/")[0] if isinstance(one, str) else None
            if name is not None and name not in targets and one not in names:
                at = item_at(item, f"steps.{step.name}.{step.kind.value}.{'target' if one is target else 'targets'}")
                root.wrong(at, f"there is no target {one!r}{hint(one, names)}")


def _check_names(pipelines: Mapping[str, Pipeline], places: Mapping[str, Item], root: Reader) -> None:
    """A schedule is known by its name alone."""
    owners: dict[str, str] = {}
    for name, pipeline in pipelines.items():
        for number, trigger in enumerate(pipeline.triggers):
            owner = owners.setdefault(trigger.name, name)
            if owner != name:
                at = item_at(places[name], f"on[{number}]")
                root.wrong(at, f"pipeline {owner!r} has a trigger {trigger.name!r} already; give this one another name")


def _check_calls(pipelines: Mapping[str, Pipeline], places: Mapping[str, Item], root: Reader) -> None:
    calls: dict[str, list[str]] = {}
    for name, pipeline in pipelines.items():
        for step in pipeline.steps:
            called = step.options.get("pipeline") if step.kind is StepKind.CALL else None
            if called is None:
                continue
            calls.setdefault(name, []).append(called)
            if called not in pipelines:
                at = item_at(places[name], f"steps.{step.name}.call")
                root.wrong(at, f"there is no pipeline {called!r}{hint(called, pipelines)}")
    try:
        ordered({name: calls.get(name, []) for name in pipelines})
    except Cycle as cycle:
        root.wrong(places[cycle.path[0]], f"calls itself: {cycle}")
