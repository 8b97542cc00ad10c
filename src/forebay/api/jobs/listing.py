"""Lists of jobs: their filters, read strictly from the query, and their pages."""

from collections.abc import Mapping, Sequence

import msgspec
from starlette.datastructures import QueryParams

from forebay.api.bodies import unknown_name
from forebay.api.context import Api, Caller
from forebay.api.paging import page_of, read_cursor
from forebay.api.times import read_time
from forebay.api.views import JobList, summary_of
from forebay.domain.errors import RequestError
from forebay.domain.job import Status
from forebay.domain.query import ROOTS_ONLY, JobQuery
from forebay.domain.webhook import NOTIFY, SUBSCRIBE
from forebay.engine.handlers.erase import ERASE

DEFAULT_LIMIT = 20
HIGHEST_LIMIT = 1000
HIDDEN = frozenset({NOTIFY, SUBSCRIBE, ERASE})  # what we make ourselves
FILTERS = ("status", "kind", "target", "model", "parent_id", "created_after", "created_before", "limit", "after")
_METADATA = "metadata["


def jobs_query(params: QueryParams, caller: Caller, now: float) -> JobQuery:
    """Reads the filters of ``GET /v1/jobs``. Raises: RequestError."""
    values, metadata = split(params, FILTERS)
    kinds = frozenset(_listed(values, "kind"))
    return JobQuery(
        tenant=caller.tenant,
        parent_id=values.get("parent_id", ROOTS_ONLY),
        statuses=read_statuses(values),
        kinds=kinds,
        without_kinds=frozenset() if kinds or "parent_id" in values else HIDDEN,
        target=values.get("target"),
        model=values.get("model"),
        created_after=read_when(values, "created_after", now),
        created_before=read_when(values, "created_before", now),
        metadata=metadata,
        after=read_cursor(values.get("after"), "job_"),
        limit=read_limit(values.get("limit")),
    )


def split(params: QueryParams, known: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Parts the query into plain filters and ``metadata[key]``. Raises: RequestError: a name that we don't know."""
    values: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, value in params.multi_items():
        if name.startswith(_METADATA) and name.endswith("]"):
            metadata[name[len(_METADATA) : -1]] = value
        elif name not in known:
            raise unknown_name(name, (*known, "metadata[key]"), "query parameter")
        elif not value:
            raise RequestError(f"{name}: it must not be empty", param=name)
        else:
            values[name] = f"{values[name]},{value}" if name in values else value
    return values, metadata


def read_statuses(values: Mapping[str, str]) -> frozenset[Status]:
    """The statuses named, separated by commas. Raises: RequestError."""
    return frozenset(_status(name) for name in _listed(values, "status"))


def read_limit(text: str | None, *, default: int = DEFAULT_LIMIT, highest: int = HIGHEST_LIMIT) -> int:
    """Raises: RequestError."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= highest or len(text) > len(str(highest)):
        raise RequestError(f"limit: it must be 1 to {highest}, not {text!r}", param="limit")
    return int(text)


async def page(query: JobQuery, api: Api) -> bytes:
    """Reads one page and writes it as a list, with the cursor's ends."""
    jobs = await api.services.jobs.find(msgspec.structs.replace(query, limit=query.limit + 1))
    shown = jobs[: query.limit]
    return msgspec.json.encode(page_of(JobList, [summary_of(job) for job in shown], has_more=len(jobs) > query.limit))


def _status(name: str) -> Status:
    try:
        return Status(name)
    except ValueError as exc:
        raise RequestError(f"status: {name!r} is none of {', '.join(Status)}", param="status") from exc


def _listed(values: Mapping[str, str], name: str) -> list[str]:
    """The parts between commas. Raises: RequestError: there are commas alone."""
    text = values.get(name)
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if text is not None and not parts:
        raise RequestError(f"{name}: {text!r} names none", param=name)
    return parts


def read_when(values: Mapping[str, str], name: str, now: float) -> float | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        return read_time(float(text), start=now, param=name)
    except ValueError:
        return read_time(text, start=now, param=name, is_past=True)
