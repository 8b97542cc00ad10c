"""The options of a ``read`` step: files by path or address, or a query to a database."""

from collections.abc import Mapping
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.record import Record
from forebay.policy.sql_text import read_statement
from forebay.policy.steps.effects import only, text
from forebay.policy.steps.forms import Form
from forebay.policy.steps.places import database_url
from forebay.policy.steps.values import choice, column_types, flag, names, optional_text

_FILE_OPTIONS = ("path", "format", "columns", "delimiter", "quote", "header", "encoding")
_CSV_OPTIONS = ("delimiter", "quote", "header", "encoding")


class DatabaseQuery(Record, frozen=True, kw_only=True):
    """A query to a database. ``url`` and ``args`` are templates; what the query names as ``:name`` is bound to the
    argument of that name, or else to the run's parameter.
    """

    url: str
    query: str
    args: dict[str, Any] = {}


class ReadOptions(Record, frozen=True, kw_only=True):
    """Either ``paths`` (templates) or ``sql``. ``columns``: types of CSV's columns, which are text otherwise."""

    paths: tuple[str, ...] = ()
    sql: DatabaseQuery | None = None
    form: Form | None = None  # None: as each name's ending tells
    columns: dict[str, str] = {}
    delimiter: str | None = None  # None: the first of `, ; tab |` in the header
    quote: str = '"'
    has_header: bool = True
    encoding: str = "utf-8"


def read_read(options: Mapping[str, Any]) -> ReadOptions:
    """Raises: RequestError, with the option as ``param``."""
    only(options, (*_FILE_OPTIONS, "sql"))
    if "sql" in options:
        for name in _FILE_OPTIONS:
            if name in options:
                raise RequestError("does not go with `sql`", param=name)
        return ReadOptions(sql=_query(options["sql"]))
    paths = names(options, "path")
    if not paths:
        raise RequestError("is missing; name a path, or a query as `sql: {url, query}`", param="path")
    form = choice(options, "format", Form)
    columns = column_types(options)
    if form not in (None, Form.CSV):
        for name in (*_CSV_OPTIONS, "columns"):
            if name in options:
                raise RequestError(f"goes with CSV alone, not with {form}", param=name)
    return ReadOptions(
        paths=paths,
        form=form,
        columns=columns,
        delimiter=_character(options, "delimiter"),
        quote=_character(options, "quote") or '"',
        has_header=flag(options, "header", default=True),
        encoding=optional_text(options, "encoding") or "utf-8",
    )


def _query(options: Any) -> DatabaseQuery:
    if not isinstance(options, Mapping):
        raise RequestError("must be a mapping: {url, query}", param="sql")
    only(options, ("url", "query", "args"))
    args = options.get("args", {})
    if not isinstance(args, Mapping):
        raise RequestError("must be a mapping of names to values", param="args")
    query = text(options, "query")
    read_statement(query)
    return DatabaseQuery(url=database_url(options), query=query, args={str(key): arg for key, arg in args.items()})


def _character(options: Mapping[str, Any], name: str) -> str | None:
    value = optional_text(options, name)
    value = "\t" if value == "\\t" else value
    if value is not None and (len(value) != 1 or not value.isascii()):
        raise RequestError(f"must be one character, not {value!r}", param=name)
    return value
