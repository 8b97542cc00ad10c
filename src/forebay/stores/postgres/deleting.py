"""Deletes ended jobs with all that hangs on them: what was taken over by a group, and what ``prune`` removes."""

from forebay.stores.postgres.transaction import Tx

_TABLES = ("jobs", "bodies", "results", "attempts", "chunks", "segments", "refs")


async def below(tx: Tx, job_ids: list[str], limit: int | None = None) -> list[str]:
    """Ids of descendants, parents before their children."""
    return [row[0] for row in await tx.bulk("delete.below", job_ids, limit)]


async def delete_jobs(tx: Tx, job_ids: list[str]) -> None:
    """Deletes these rows from every table; they must have ended."""
    if job_ids:
        for table in _TABLES:
            await tx.bulk("delete." + table, job_ids)
