"""What steps depend on, or have made, outside of their inputs, as it is now."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from forebay.connectors.drivers import connector
from forebay.connectors.sources.found import unreadable
from forebay.connectors.sources.opening import BUCKETS, named_files, tag_of
from forebay.connectors.steps.modules import sources_of
from forebay.connectors.steps.python import search_path
from forebay.connectors.steps.report import template_path
from forebay.connectors.workplace import Workplace
from forebay.domain.pipeline import StepKind, StepWork
from forebay.policy.steps.index import read_index
from forebay.policy.steps.places import render_place, scheme_of
from forebay.policy.steps.python import read_python
from forebay.policy.steps.read import read_read
from forebay.policy.steps.report import read_report
from forebay.policy.steps.write import WriteMode, read_write

ABSENT = "absent"
Fingerprint = Callable[[StepWork, Workplace], str | None]


def fingerprint_of(work: StepWork, place: Workplace) -> str | None:
    """See Tables. Raises: RequestError: a source is missing."""
    return _FINGERPRINTS.get(work.step.kind, _nothing)(work, place)


def _nothing(_work: StepWork, _place: Workplace) -> str | None:
    return ""


def _read(work: StepWork, place: Workplace) -> str | None:
    options = read_read(work.step.options)
    if options.sql is not None:
        return None
    parts = []
    for named in named_files(work, options):
        try:
            tag = tag_of(named, place) if named.path is None else place.digests.of(named.path, place.stopper)
        except OSError as exc:
            raise unreadable(named.shown, exc) from exc
        if tag is None:
            return None
        parts.append((named.shown, tag))
    return _joined(parts)


def _python(work: StepWork, place: Workplace) -> str | None:
    sources = sources_of(read_python(work.step.options).function, search_path(work.folder))
    if sources is None:
        return None
    return _joined([(path.name, place.digests.of(path, place.stopper)) for path in sources])


def _write(work: StepWork, place: Workplace) -> str | None:
    options = read_write(work.step.options)
    if options.mode is WriteMode.APPEND:
        return ""  # what was appended once is not appended again because the table has grown
    return _made(options.path, work, place)


def _made(path: str | None, work: StepWork, place: Workplace) -> str | None:
    """What stands where a step has written."""
    if path is None:
        return None
    shown = render_place(path, work.scope)
    if scheme_of(shown) in BUCKETS:
        buckets: Any = connector("bucket sinks")
        return _joined([(shown, buckets.tag_of(shown) or ABSENT)])
    try:
        return _joined([(shown, place.digests.of(Path(work.folder) / shown, place.stopper))])
    except OSError:
        return _joined([(shown, ABSENT)])


def _index(work: StepWork, place: Workplace) -> str | None:
    return _made(read_index(work.step.options).path, work, place)


def _report(work: StepWork, place: Workplace) -> str | None:
    options = read_report(work.step.options)
    parts = [] if options.path is None else [("report", _made(options.path, work, place) or "")]
    if options.template is not None:
        path = template_path(work, options.template)
        try:
            parts.append((options.template, place.digests.of(path, place.stopper)))
        except OSError as exc:
            raise unreadable(options.template, exc) from exc
    return _joined(parts)


def _joined(parts: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for text in part:
            encoded = text.encode(errors="surrogateescape")
            digest.update(len(encoded).to_bytes(8) + encoded)
    return digest.hexdigest()


_FINGERPRINTS: dict[StepKind, Fingerprint] = {
    StepKind.INDEX: _index,
    StepKind.PYTHON: _python,
    StepKind.READ: _read,
    StepKind.REPORT: _report,
    StepKind.WRITE: _write,
}
