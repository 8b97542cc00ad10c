"""Deletes ended jobs with all that hangs on them: what was taken over by a group, and what ``prune`` removes."""

from forebay.stores.sqlite.transaction import Tx

WITHOUT_BOUND = -1
_TABLES = ("jobs", "bodies", "results", "attempts", "chunks", "segments", "refs")


def below(tx: Tx, job_ids: list[str], limit: int = WITHOUT_BOUND) -> list[str]:
    """Ids of descendants, parents before their children."""
    return [row[0] for row in tx.bulk("delete.below", job_ids, limit)]


def delete_jobs(tx: Tx, job_ids: list[str]) -> None:
    """Deletes these rows from every table; they must have ended."""
    if job_ids:
        for table in _TABLES:
            tx.bulk("delete." + table, job_ids)
