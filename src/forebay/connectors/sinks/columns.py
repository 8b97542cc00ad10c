"""Columns of tables as databases have them: DuckDB's types in theirs, and expressions of what is written."""

from forebay.connectors.duck import name

_NESTED = ("STRUCT", "MAP", "UNION")

POSTGRES = {
    "BOOLEAN": "boolean",
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "UTINYINT": "smallint",
    "INTEGER": "integer",
    "USMALLINT": "integer",
    "BIGINT": "bigint",
    "UINTEGER": "bigint",
    "UBIGINT": "numeric",
    "HUGEINT": "numeric",
    "UHUGEINT": "numeric",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "UUID": "uuid",
    "BLOB": "bytea",
    "JSON": "jsonb",
}
_SQLITE_INTEGERS = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
)


def is_nested(kind: str) -> bool:
    """Whether values are objects or arrays: JSON elsewhere."""
    return kind.endswith("]") or kind.startswith(_NESTED)


def postgres_type(kind: str) -> str:
    """The type of a column that is made for it."""
    if is_nested(kind):
        return "jsonb"
    if kind.startswith("DECIMAL"):
        return "numeric" + kind.removeprefix("DECIMAL")
    return POSTGRES.get(kind, "text")


def postgres_value(column: str, kind: str) -> str:
    """The value as the text that COPY takes for it."""
    if is_nested(kind):
        return f"to_json({name(column)})::VARCHAR"
    if kind == "BLOB":
        return f"'\\x' || hex({name(column)})"
    return f"{name(column)}::VARCHAR"


def sqlite_type(kind: str) -> str:
    """The affinity of a column that is made for it."""
    if kind in _SQLITE_INTEGERS:
        return "INTEGER"
    if kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
        return "REAL"
    return "BLOB" if kind == "BLOB" else "TEXT"


def sqlite_value(column: str, kind: str) -> str:
    """The value as one that SQLite has."""
    if is_nested(kind):
        return f"to_json({name(column)})::VARCHAR"
    match sqlite_type(kind):
        case "INTEGER":
            return f"{name(column)}::BIGINT"
        case "REAL":
            return f"{name(column)}::DOUBLE"
        case "BLOB":
            return name(column)
        case _:
            return f"{name(column)}::VARCHAR"
