"""``spec.args`` of an ``infer`` job: what its call needs beside the body. Other members are their owners' affair."""

from functools import lru_cache
from typing import Any

import msgspec

from forebay.domain.passed import Passed
from forebay.domain.record import Record

REMEMBERED = 256  # the lines of a batch share theirs


class FormFile(Record, frozen=True, kw_only=True):
    """A file that the body names: what was read of its record, so that the call does not need it any more.

    ``filename`` has the extension of the file's name alone: arguments outlive a job's erasure, and names are people's.
    """

    blob_id: str
    bytes: int
    filename: str
    content_type: str


class Family(Record, frozen=True, kw_only=True):
    """Where a job stands in a task that was split: ``root`` split it first, ``budget`` is what all spend from."""

    root: str
    depth: int
    budget: str


class Ceiling(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A budget that jobs of several groups spend from, as a run's steps do. ``name``: of its sum."""

    name: str
    usd: float | None = None
    tokens: int | None = None


class InferArgs(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``schema`` is read by the validation. ``files`` are those of the body, by id; ``is_form``: it came as a form.
    ``hops``: how many events led here. ``budgets``: what it spends from beside its own.
    """

    schema: Any = None
    passed: Passed | None = None
    files: dict[str, FormFile] = {}
    is_form: bool = False
    family: Family | None = None
    budgets: tuple[Ceiling, ...] = ()
    hops: int = 0


NO_ARGS = InferArgs()


def infer_args(text: str | None) -> InferArgs:
    """Reads a job's arguments."""
    return NO_ARGS if text is None else _decoded(text)


def with_args(text: str | None, more: InferArgs) -> str | None:
    """The arguments with these members set; all others stay."""
    added = msgspec.to_builtins(more)
    if not added:
        return text
    members: dict[str, Any] = msgspec.json.decode(text) if text else {}
    return msgspec.json.encode(members | added).decode()


@lru_cache(maxsize=REMEMBERED)
def _decoded(text: str) -> InferArgs:
    return msgspec.json.decode(text, type=InferArgs)
