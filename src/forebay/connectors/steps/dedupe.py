"""Steps of kind ``dedupe``: of equal records one stays, where it stood."""

import duckdb

from forebay.connectors.duck import free_name, literal, name, refusal
from forebay.connectors.parquet import copy_out, group_rows, keep_table, known_column, one_table
from forebay.connectors.workplace import Workplace
from forebay.domain.pipeline import Counts, StepOutcome, StepOutput, StepWork
from forebay.policy.steps.dedupe import Keep, read_dedupe


def run_dedupe(work: StepWork, place: Workplace) -> StepOutcome:
    """Leaves out what is there twice; null equals null. Raises: RequestError."""
    options, table = read_dedupe(work.step.options), one_table(work)
    by = [known_column(table, one, "by") for one in options.by] or list(table.columns)
    source, result = place.local(table.blob_id), place.path("result.parquet")
    row = free_name("row_", table.columns)
    chosen = "min" if options.keep is Keep.FIRST else "max"
    numbered = f"SELECT *, file_row_number AS {row} FROM read_parquet({literal(source)}, file_row_number = true)"
    query = f"""
        WITH numbered AS ({numbered}),
        kept AS (SELECT {chosen}({row}) AS {row} FROM numbered GROUP BY {", ".join(name(one) for one in by)})
        SELECT * EXCLUDE ({row}, file_row_number) FROM numbered SEMI JOIN kept USING ({row}) ORDER BY {row}"""
    try:
        with place.connection() as connection:
            copy_out(connection, query, result, rows=group_rows(connection, [source]))
    except duckdb.Error as exc:
        raise refusal(exc, folder=place.folder) from exc
    counts = Counts(entered=table.rows, succeeded=table.rows)
    return StepOutcome(output=StepOutput(table=keep_table(place, result)), counts=counts)
