"""What templates of reports see: rows, counts and columns of tables, and filters that make tables and plots of them."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import StrictUndefined, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from forebay.connectors.duck import decode_row, free_name, literal
from forebay.connectors.workplace import Workplace
from forebay.domain.pipeline import TableRef
from forebay.policy.plots import Plot, bars, lines

MOST_ROWS = 10_000  # of each table; `count` tells how many there are
MOST_ROW_BYTES = 64 * 1024 * 1024
ROWS_AT_ONCE = 256

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable:
    """A table in a template: ``{% for row in load %}``, ``{{ load.count }}``. ``rows``: the first of them."""

    rows: Rows
    count: int
    columns: tuple[str, ...]

    @classmethod
    def read(cls, table: TableRef, place: Workplace) -> "ReportTable":
        """The first rows, as many as there is room for."""
        row, size = free_name("row_", table.columns), 0
        rows: Rows = []
        source = literal(place.local(table.blob_id))
        with place.connection() as connection:
            found = connection.execute(f"SELECT to_json({row}) FROM read_parquet({source}) AS {row} LIMIT {MOST_ROWS}")
            while size < MOST_ROW_BYTES and (texts := found.fetchmany(ROWS_AT_ONCE)):
                size += sum(len(text) for (text,) in texts)
                rows += [decode_row(text) for (text,) in texts]
        return cls(rows=rows, count=table.rows, columns=tuple(table.columns))

    @property
    def is_truncated(self) -> bool:
        """Whether there are more than ``rows``."""
        return len(self.rows) < self.count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self.rows[place]


def template_problem(options: Mapping[str, Any], folder: Path) -> str | None:
    """What is wrong with a report's template as it is written, with its line; None: nothing, or it is not there yet."""
    source, named = options.get("text"), options.get("template")
    if isinstance(named, str) and "{" not in named:
        with suppress(OSError, UnicodeDecodeError):
            source = (folder / named).read_text(encoding="utf-8")
    if not isinstance(source, str):
        return None
    try:
        environment(is_markup=False).parse(source)
    except TemplateSyntaxError as exc:
        return f"its template is wrong in line {exc.lineno}: {exc.message}"
    return None


def environment(*, is_markup: bool) -> ImmutableSandboxedEnvironment:
    """Of a report. A template can't reach files, modules or attributes of Python's own; a name that is not there is an
    error.
    """
    made = ImmutableSandboxedEnvironment(
        autoescape=is_markup,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["table"] = _markup_table if is_markup else _markdown_table
    made.filters["bars"] = lambda rows, x, *y, title="": Markup(bars(_plot(rows, x, y, title)))  # noqa: S704 - escaped
    made.filters["lines"] = lambda rows, x, *y, title="": Markup(lines(_plot(rows, x, y, title)))  # noqa: S704 - escaped
    return made


def _plot(rows: Any, x: str, names: tuple[str, ...], title: str) -> Plot:
    found = list(rows)
    labels = [_cell(_value(row, x)) for row in found]
    series = {name: [_number(_value(row, name)) for row in found] for name in names}
    return Plot(title=title, labels=labels, series=series)


def _value(row: Any, name: str) -> Any:
    if not isinstance(row, Mapping) or name not in row:
        known = ", ".join(row) if isinstance(row, Mapping) else "none"
        raise ValueError(f"a row has no column {name!r}; there are: {known}")
    return row[name]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _columns(rows: Rows, wanted: tuple[str, ...]) -> list[str]:
    return list(wanted) or list(dict.fromkeys(name for row in rows for name in row))


def _markdown_table(rows: Any, *wanted: str) -> str:
    found = list(rows)
    columns = _columns(found, wanted)
    told = [columns, ["---"] * len(columns), *([_cell(row.get(name)) for name in columns] for row in found)]
    return "\n".join("| " + " | ".join(_in_cell(cell) for cell in row) + " |" for row in told)


def _in_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", "").replace("\n", "<br>")


def _markup_table(rows: Any, *wanted: str) -> Markup:
    found = list(rows)
    columns = _columns(found, wanted)
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = ["<tr>" + "".join(f"<td>{escape(_cell(row.get(name)))}</td>" for name in columns) + "</tr>" for row in found]
    return Markup("<table>\n<tr>" + head + "</tr>\n" + "\n".join(body) + "\n</table>")  # noqa: S704 - each is escaped
