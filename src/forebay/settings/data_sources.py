"""The keys of targets of types ``sql`` and ``search``."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from forebay.domain.data_source import DEFAULT_MATCHES, DEFAULT_ROWS, MOST_ROWS, SearchSource, SqlSource
from forebay.domain.errors import RequestError
from forebay.domain.vectors import MOST_MATCHES
from forebay.policy.nearest import hint
from forebay.policy.sql_text import read_statement
from forebay.policy.vector_filter import read_filter
from forebay.settings.reading import Reader
from forebay.settings.rules import item_at, plain

FILES = ("sqlite", "duckdb")
POSTGRES = ("postgresql", "postgres")


def read_sql(reader: Reader, folder: Path) -> SqlSource | None:
    """Reads the keys of a target of type ``sql``; a file's path becomes absolute."""
    url = _address(reader, folder)
    query, allow_query = reader.text("query"), reader.flag("allow_query") or False
    if query is None and not allow_query:
        reader.wrong(reader.items.get("query", reader.item), "a target of type sql needs query, or allow_query: true")
    elif query is not None:
        try:
            read_statement(query)
        except RequestError as exc:
            reader.wrong(reader.items["query"], exc.message)
    rows = reader.whole("max_rows", least=1) or DEFAULT_ROWS
    if rows > MOST_ROWS:
        reader.wrong(reader.items["max_rows"], f"must be at most {MOST_ROWS}, not {rows}")
    return None if url is None else SqlSource(url=url, query=query, allow_query=allow_query, max_rows=rows)


def read_search(reader: Reader, folder: Path) -> SearchSource | None:
    """Reads the keys of a target of type ``search``; a path becomes absolute."""
    index, found = reader.text("index"), reader.items.get("filter")
    wanted = plain(found) if found is not None else None
    if found is not None:
        try:
            read_filter(wanted)
        except RequestError as exc:
            reader.wrong(item_at(found, (exc.param or "").removeprefix("filter.")), exc.message)
    count = reader.whole("k", least=1) or DEFAULT_MATCHES
    if count > MOST_MATCHES:
        reader.wrong(reader.items["k"], f"must be at most {MOST_MATCHES}, not {count}")
    if not index:
        return None
    scheme = _scheme(index)
    if scheme not in {"", "duckdb", *POSTGRES}:
        reader.wrong(reader.items["index"], "must be a path, duckdb:///FILE or postgresql://USER@HOST/DATABASE")
    place = str(folder / index.removeprefix("duckdb:///")) if scheme in {"", "duckdb"} else index
    return SearchSource(
        index=place,
        table=reader.text("table"),
        embedder=reader.text("embedder"),
        k=count,
        filter=wanted if isinstance(wanted, dict) else {},
    )


def check_embedder(reader: Reader, declared: Iterable[str]) -> None:
    """An embedder is a declared target or route, with a model behind a slash where it is not the target's first."""
    value, known = reader.text("embedder"), list(declared)
    if value is not None and value not in known and value.partition("/")[0] not in known:
        reader.wrong(reader.items["embedder"], f"there is no target {value!r}{hint(value, known)}")


def _address(reader: Reader, folder: Path) -> str | None:
    url = reader.text("url")
    if not url:
        return None
    scheme = _scheme(url)
    if scheme in FILES and url.startswith(f"{scheme}:///") and url.removeprefix(f"{scheme}:///"):
        return f"{scheme}:///{folder / url.removeprefix(f'{scheme}:///')}"
    if scheme in POSTGRES and _is_database(url):
        return url
    reader.wrong(reader.items["url"], "must be sqlite:///FILE, duckdb:///FILE or postgresql://USER@HOST/DATABASE")
    return None


def _scheme(text: str) -> str:
    return text.partition("://")[0] if "://" in text else ""


def _is_database(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.path.strip("/")) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
