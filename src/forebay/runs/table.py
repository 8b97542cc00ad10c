"""`forebay.run` for Python: a path, a list of dicts or a DataFrame in, a table of the same kind out."""

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from forebay.domain.errors import ConfigurationError, JobFailed
from forebay.policy.requests import RequestOptions
from forebay.runs.inputs import Input, given, open_input
from forebay.runs.job import error_lines, execute, output_rows
from forebay.runs.options import DEFAULT_MAX_ATTEMPTS, RunOptions
from forebay.runs.prepared import Prepared
from forebay.runs.progress import Reporter, Silence
from forebay.runs.rows import encode
from forebay.runs.site import LocalSite
from forebay.runs.summary import Summary
from forebay.settings import load_settings

Row = dict[str, Any]
T = TypeVar("T")
KEY_VARIABLES = ("FOREBAY_TARGET_API_KEY", "OPENAI_API_KEY")


@dataclass(frozen=True, slots=True)
class PartialTable:
    """What a run with failed records brought: ``JobFailed.job``. All of it is paid for, and kept for the next run."""

    table: Any
    errors: list[Row]
    summary: Summary


def run(
    source: Any,
    *,
    output: str | Path | None = None,
    model: str | None = None,
    prompt: str | None = None,
    system: str | None = None,
    body: Any = None,
    params: Row | None = None,
    schema: Any = None,
    endpoint: str | None = None,
    target: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    concurrency: int | None = None,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    limit: int | None = None,
    full: bool = False,
    retry_failed: bool = False,
    fresh: bool = False,
    budget_usd: float | None = None,
    name: str | None = None,
    config: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Any:
    """Runs every record of ``source`` through a model and returns the table: the fields and ``output``, in order.

    ``source`` is a path, a list of dicts or a DataFrame (pandas, polars); a DataFrame comes back as one, all else as a
    list of dicts. Options and guarantees are those of `forebay run`: the same call goes on where an earlier one
    stopped. Without a configured store the state stands in ``OUTPUT.forebay.db``, else beside the input, else (data
    in memory) in ``NAME.forebay.db``; without any of these nothing is kept.

    Raises: JobFailed: some records failed; its ``job`` is a PartialTable. ConfigurationError: nothing was sent.
    """
    _quieten()
    site = LocalSite(load_settings(None if config is None else Path(config), os.environ), os.environ)
    request = RequestOptions(
        prompt=prompt, system=system, body=body, params=params or {}, schema=schema, endpoint=endpoint, model=model
    )
    with _output(output) as path:
        options = RunOptions(
            output=str(path),
            state=_state(source, output, name),
            request=request,
            target=target,
            base_url=base_url,
            api_key=api_key or next((os.environ[key] for key in KEY_VARIABLES if os.environ.get(key)), None),
            concurrency=concurrency,
            max_attempts=max_attempts,
            limit=limit,
            is_full=full,
            retry_failed=retry_failed,
            is_fresh=fresh,
            budget_usd=budget_usd,
            name=name,
        )
        harvest = _Harvest()
        records = _records(source, options.output)
        stop = asyncio.Event()
        summary = _in_a_loop(lambda: execute(records, options, site, reporter or Silence(), stop, harvest.take))
    table = _like(source, harvest)
    if summary.failed:
        reason = harvest.errors[0]["error"]["message"]
        message = f"{summary.failed} of {summary.records} records failed; the first: {reason}"
        raise JobFailed(message, PartialTable(table, harvest.errors, summary))
    return table


class _Harvest:
    """What a run leaves in memory."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.errors: list[Row] = []
        self.columns: tuple[str, ...] = ()

    def take(self, prepared: Prepared) -> None:
        self.columns = prepared.joiner.columns
        self.rows = [msgspec.json.decode(encode(row)) for row in output_rows(prepared)]
        self.errors = [msgspec.json.decode(line) for line in error_lines(prepared)]


@contextmanager
def _output(output: str | Path | None) -> Iterator[Path]:
    if output is not None:
        yield Path(output)
        return
    with tempfile.TemporaryDirectory(prefix="forebay-") as folder:
        yield Path(folder) / "output.jsonl"


def _state(source: Any, output: str | Path | None, name: str | None) -> str | None:
    """The file that the store stands beside, where none is configured; None: the output."""
    if output is not None:
        return None
    if isinstance(source, str | Path):
        return str(source)
    return name


def _records(source: Any, output: str) -> Input:
    if isinstance(source, str | Path):
        return open_input(str(source), output=output)
    if isinstance(source, list):
        return given(source)
    if hasattr(source, "to_dicts"):  # polars
        return given(source.to_dicts(), columns=source.columns)
    if hasattr(source, "to_dict"):  # pandas
        return given(source.to_dict("records"), columns=source.columns)
    raise ConfigurationError(f"forebay.run takes a path, a list of dicts or a DataFrame, not {type(source).__name__}")


def _like(source: Any, harvest: _Harvest) -> Any:
    rows, columns = harvest.rows, [*harvest.columns]
    if isinstance(source, str | Path | list):
        return rows
    if hasattr(source, "to_dicts"):
        return type(source)(rows, schema=columns, infer_schema_length=None)
    return type(source)(rows, columns=columns)


def _in_a_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine; where a loop runs already (a notebook) in a thread beside it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


def _quieten() -> None:
    """A library logs only what its host asked for: errors, on stderr, unless structlog was set up."""
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
