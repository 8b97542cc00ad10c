"""From what a step names to files at hand."""

from pathlib import Path

from forebay.connectors.sources.found import Found, open_local
from forebay.connectors.sources.local import find_local
from forebay.connectors.workplace import Workplace
from forebay.domain.pipeline import StepWork
from forebay.policy.steps.read import ReadOptions
from forebay.policy.templates import compile_text


def named_files(work: StepWork, options: ReadOptions) -> list[tuple[str, Path]]:
    """The files of all paths, each once, in the order of their names. Raises: RequestError."""
    found: dict[str, Path] = {}
    for template in options.paths:
        for shown, path in find_local(compile_text(template).render_text(work.scope), work.folder):
            found.setdefault(shown, path)
    return list(found.items())


def open_sources(work: StepWork, options: ReadOptions, place: Workplace) -> list[Found]:
    """The files, hashed. Raises: RequestError."""
    return [open_local(path, shown, place) for shown, path in named_files(work, options)]
