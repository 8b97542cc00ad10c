"""What steps depend on, or have made, outside of their inputs, as it is now."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from forebay.connectors.sources.found import unreadable
from forebay.connectors.sources.opening import named_files, tag_of
from forebay.connectors.steps.modules import sources_of
from forebay.connectors.steps.python import search_path
from forebay.connectors.workplace import Workplace
from forebay.domain.pipeline import StepKind, StepWork
from forebay.policy.steps.places import render_place
from forebay.policy.steps.python import read_python
from forebay.policy.steps.read import read_read
from forebay.policy.steps.write import read_write

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
    if options.path is None:
        return None
    shown = render_place(options.path, work.scope)
    try:
        return _joined([(shown, place.digests.of(Path(work.folder) / shown, place.stopper))])
    except OSError:
        return _joined([(shown, ABSENT)])


def _joined(parts: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for text in part:
            encoded = text.encode(errors="surrogateescape")
            digest.update(len(encoded).to_bytes(8) + encoded)
    return digest.hexdigest()


_FINGERPRINTS: dict[StepKind, Fingerprint] = {StepKind.READ: _read, StepKind.WRITE: _write, StepKind.PYTHON: _python}
