"""Connectors that load at their first use: who has no such source needs neither their time nor their memory."""

from functools import cache
from types import ModuleType

from forebay.extras import load

_CONNECTORS = {  # module, what it needs, the extra
    "arrivals in buckets": ("forebay.connectors.arrivals.buckets", "obstore", "s3"),
    "duckdb library": ("duckdb", "duckdb", ""),
    "reports": ("forebay.connectors.steps.rendering", "jinja2", ""),
    "steps": ("forebay.connectors.steps.table", "duckdb", ""),
    "sqlite rows": ("forebay.connectors.sources.sqlite_rows", "apsw", ""),
    "postgresql rows": ("forebay.connectors.sources.postgres_rows", "asyncpg", "postgres"),
    "bucket sinks": ("forebay.connectors.sinks.buckets", "obstore", "s3"),
    "sqlite sinks": ("forebay.connectors.sinks.sqlite_table", "apsw", ""),
    "postgresql sinks": ("forebay.connectors.sinks.postgres_table", "asyncpg", "postgres"),
    "buckets": ("forebay.connectors.sources.buckets", "obstore", "s3"),
    "duckdb index": ("forebay.connectors.vectors.duckdb_index", "duckdb", ""),
    "postgresql index": ("forebay.connectors.vectors.postgres_index", "asyncpg", "postgres"),
    "duckdb": ("forebay.connectors.queries.duckdb_source", "duckdb", ""),
    "postgresql": ("forebay.connectors.queries.postgres_source", "asyncpg", "postgres"),
    "sqlite": ("forebay.connectors.queries.sqlite_source", "apsw", ""),
}


@cache
def connector(name: str) -> ModuleType:
    """Returns the module of a connector. Raises: ConfigurationError: the extra that it needs is not installed."""
    return load(name.partition(" ")[0], *_CONNECTORS[name])
