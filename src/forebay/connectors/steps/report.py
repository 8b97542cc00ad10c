"""Steps of kind ``report``: Markdown, HTML or any text from a Jinja template over the inputs."""

from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from forebay.connectors.drafts import replacing
from forebay.connectors.sources.found import unreadable
from forebay.connectors.steps.rendering import ReportTable, environment
from forebay.connectors.steps.write import described
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import (
    MOST_VALUE_BYTES,
    SINK_FAILED,
    STEP_FAILED,
    Counts,
    InputFile,
    StepOutcome,
    StepOutput,
    StepWork,
)
from forebay.policy.steps.places import render_place
from forebay.policy.steps.report import read_report

MOST_BYTES = 64 * 1024 * 1024
_MARKUP = (".html", ".htm", ".xml", ".svg")


def run_report(work: StepWork, place: Workplace) -> StepOutcome:
    """Renders the template; without a ``path`` its text is the step's value. Raises: RequestError."""
    options = read_report(work.step.options)
    shown = None if options.path is None else render_place(options.path, work.scope)
    source = options.text or template_text(work, options.template or "")
    rendered = _rendered(source, options.template or "the template", work, place, is_markup=_is_markup(shown))
    if shown is None and len(rendered) > MOST_VALUE_BYTES:
        message = f"the report has {len(rendered)} bytes, more than a step's value: name its `path`"
        raise RequestError(message, param="path")
    value = rendered.decode() if len(rendered) <= MOST_VALUE_BYTES else None
    files = () if shown is None else (_written(rendered, Path(work.folder) / shown, shown),)
    entered = sum(output.table.rows for output in work.inputs.values() if output.table is not None)
    return StepOutcome(output=StepOutput(value=value, files=files), counts=Counts(entered=entered, succeeded=entered))


def template_path(work: StepWork, template: str) -> Path:
    """Where the template's file is."""
    return Path(work.folder) / render_place(template, work.scope, option="template")


def template_text(work: StepWork, template: str) -> str:
    """Raises: RequestError: the file can't be read."""
    try:
        return template_path(work, template).read_text(encoding="utf-8")
    except OSError as exc:
        raise unreadable(template, exc) from exc
    except UnicodeDecodeError as exc:
        raise RequestError(f"{template!r} is not UTF-8", param="template") from exc


def _is_markup(shown: str | None) -> bool:
    return shown is not None and shown.lower().endswith(_MARKUP)


def _rendered(source: str, called: str, work: StepWork, place: Workplace, *, is_markup: bool) -> bytes:
    seen: dict[str, Any] = dict(work.scope)
    for name, output in work.inputs.items():
        if output.value is not None or output.table is None:  # a single call has both: its answer, and a row
            seen[name] = output.value
        else:
            seen[name] = ReportTable.read(output.table, place)
    pieces, size = [], 0
    try:
        for piece in environment(is_markup=is_markup).from_string(source).generate(seen):
            place.stopper.check()
            encoded = piece.encode()
            size += len(encoded)
            if size > MOST_BYTES:
                raise RequestError(f"the report is larger than {MOST_BYTES} bytes", code=STEP_FAILED)
            pieces.append(encoded)
    except TemplateError as exc:
        line = getattr(exc, "lineno", None)
        where = f"{called}, line {line}" if line else called
        raise RequestError(f"{where}: {exc.message or exc}", param="template", code=STEP_FAILED) from exc
    except (TypeError, ValueError, ArithmeticError, LookupError, OverflowError) as exc:
        raise RequestError(f"{called}: {type(exc).__name__}: {exc}", param="template", code=STEP_FAILED) from exc
    return b"".join(pieces)


def _written(rendered: bytes, target: Path, shown: str) -> InputFile:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as draft:
            draft.write_bytes(rendered)
            return described(draft, shown)
    except OSError as exc:
        raise RequestError(f"{shown!r} can't be written: {exc.strerror or exc}", code=SINK_FAILED) from exc
