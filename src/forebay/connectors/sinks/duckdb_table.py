"""A table of a DuckDB file, written in one transaction."""

from pathlib import Path

from forebay.connectors.duck import literal, name
from forebay.connectors.sinks.order import MARKS, Order
from forebay.connectors.workplace import Workplace
from forebay.policy.steps.write import WriteMode


def write_duckdb(path: Path, order: Order, place: Workplace) -> None:
    """Raises: duckdb.Error: nothing was changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = ".".join(name(part) for part in order.path)
    rows = f"SELECT * FROM read_parquet({literal(order.source)})"
    with place.connection() as connection:
        connection.execute(f"ATTACH {literal(path)} AS sink")
        connection.execute("USE sink")
        connection.execute("BEGIN")
        if order.mode is WriteMode.APPEND:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {MARKS} (id VARCHAR PRIMARY KEY)")
            if connection.execute(f"SELECT 1 FROM {MARKS} WHERE id = ?", [order.mark]).fetchall():
                return
            connection.execute(f"INSERT INTO {MARKS} VALUES (?)", [order.mark])
        if order.mode is WriteMode.REPLACE:
            connection.execute(f"CREATE OR REPLACE TABLE {table} AS {rows}")
        else:
            columns = [f"{name(column)} {kind}" for column, kind in order.table.columns.items()]
            if order.key:
                columns.append(f"PRIMARY KEY ({', '.join(name(one) for one in order.key)})")
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})")
            how = "INSERT OR REPLACE INTO" if order.mode is WriteMode.UPSERT else "INSERT INTO"
            connection.execute(f"{how} {table} BY NAME {rows}")
        place.stopper.check()
        connection.execute("COMMIT")
