"""The options of a ``write`` step: a file, or a table of a database."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.record import Record
from forebay.policy.steps.effects import only, text
from forebay.policy.steps.forms import Form, form_of
from forebay.policy.steps.places import database_url, names_params
from forebay.policy.steps.values import choice, names

WRITTEN = (Form.CSV, Form.JSONL, Form.PARQUET)


class WriteMode(StrEnum):
    """What becomes of a table's rows that were there before."""

    REPLACE = "replace"
    APPEND = "append"
    UPSERT = "upsert"


class WriteOptions(Record, frozen=True, kw_only=True):
    """Either ``path``, or ``url`` and ``table``; all are templates. ``key``: the columns of an upsert."""

    path: str | None = None
    form: Form = Form.PARQUET
    url: str | None = None
    table: str | None = None
    mode: WriteMode = WriteMode.REPLACE
    key: tuple[str, ...] = ()


def read_write(options: Mapping[str, Any]) -> WriteOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, ("path", "format", "url", "table", "mode", "key"))
    if "url" in options:
        return _table(options)
    for name in ("table", "mode", "key"):
        if name in options:
            raise RequestError("goes with `url`, the address of a database", param=name)
    path = text(options, "path")
    form = choice(options, "format", Form) or form_of(path)
    if form not in WRITTEN:
        raise RequestError("must end in .csv, .jsonl or .parquet, or say so as `format`", param="path")
    return WriteOptions(path=path, form=form)


def _table(options: Mapping[str, Any]) -> WriteOptions:
    for name in ("path", "format"):
        if name in options:
            raise RequestError("does not go with `url`", param=name)
    mode = choice(options, "mode", WriteMode, WriteMode.REPLACE) or WriteMode.REPLACE
    key = names(options, "key")
    if (mode is WriteMode.UPSERT) is not bool(key):
        raise RequestError("names the columns of an upsert, and goes with it alone", param="key")
    if names_params(text(options, "table")):
        raise RequestError("does not take params: who starts a run does not choose the table", param="table")
    return WriteOptions(url=database_url(options), table=text(options, "table"), mode=mode, key=key)
