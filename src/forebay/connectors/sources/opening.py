"""From what a step names to files at hand."""

from collections.abc import Iterable
from typing import Any

from forebay.connectors.drivers import connector
from forebay.connectors.sources import web
from forebay.connectors.sources.archives import is_archive, unpacked
from forebay.connectors.sources.found import Found, Named, open_local
from forebay.connectors.sources.local import find_local
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import NotSupported
from forebay.domain.pipeline import StepWork
from forebay.policy.steps.places import render_place, scheme_of
from forebay.policy.steps.read import ReadOptions

BUCKETS = ("s3", "gs")


def named_files(work: StepWork, options: ReadOptions) -> list[Named]:
    """The files of all paths, each once. Raises: RequestError, TargetUnavailable."""
    found: dict[str, Named] = {}
    for template in options.paths:
        for named in _found(render_place(template, work.scope), work):
            found.setdefault(named.address or named.shown, named)
    return list(found.values())


def open_sources(work: StepWork, options: ReadOptions, place: Workplace) -> list[Found]:
    """The files, at hand and hashed; archives unpacked. Raises: RequestError, TargetUnavailable."""
    opened: list[Found] = []
    for named in named_files(work, options):
        found = _opened(named, place)
        opened += unpacked(found, place) if is_archive(found.shown) else [found]
    return opened


def tag_of(named: Named, place: Workplace) -> str | None:
    """What tells, without reading it, that a file elsewhere is the same as before; None: nothing does."""
    if named.blob_id or scheme_of(named.address) in BUCKETS:
        return named.tag or None
    return web.tag_of(named, place)


def _found(place: str, work: StepWork) -> Iterable[Named]:
    upload = work.uploads.get(place)
    if upload is not None:  # a blob never changes
        return [Named(shown=upload.filename, address=place, tag=upload.blob_id, blob_id=upload.blob_id)]
    scheme = scheme_of(place)
    if not scheme:
        return find_local(place, work.folder)
    if scheme == "file":
        return find_local(place.split("://", 1)[1], work.folder)
    if scheme in BUCKETS:
        buckets: Any = connector("buckets")
        found: list[Named] = buckets.find_objects(place)
        return found
    if scheme in web.SCHEMES:
        return [Named(shown=web.shown_address(place), address=place)]
    raise NotSupported(f"{scheme}:// is no place to read from; s3://, gs://, https:// and paths are", param="path")


def _opened(named: Named, place: Workplace) -> Found:
    if named.path is not None:
        return open_local(named, named.path, place)
    if named.blob_id:
        return open_local(named, place.local(named.blob_id), place)
    if scheme_of(named.address) in BUCKETS:
        buckets: Any = connector("buckets")
        copy: Found = buckets.copy_object(named, place)
        return copy
    return web.download(named, place)
