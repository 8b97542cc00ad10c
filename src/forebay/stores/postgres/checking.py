"""Whether the tables of a store agree with each other: ``forebay store check``. Reads one snapshot, writes nothing."""

from forebay.stores.postgres.faults import BUSY, LOST, unavailable
from forebay.stores.postgres.link import SNAPSHOT, Link
from forebay.stores.postgres.migrating import read_layout, refuse_unless_current
from forebay.stores.postgres.place import Place

CHECK_SECONDS = 600
_CHECKS = {
    "{} queued jobs have no place in `ready` or `later` and no lease": """
SELECT count(*) FROM jobs j WHERE j.status = 'queued'
  AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.job_id = j.id)
  AND NOT EXISTS (SELECT 1 FROM later t WHERE t.job_id = j.id AND t.due_at = j.due_at)
  AND NOT EXISTS (SELECT 1 FROM ready r WHERE r.queue = j.queue AND r.is_suspect = (j.rescues >= 2)
                  AND r.urgency = j.urgency AND r.rank = j.rank AND r.job_id = j.id)""",
    "{} places in `ready` are those of no queued job, or of a leased one": """
SELECT count(*) FROM ready r WHERE EXISTS (SELECT 1 FROM leases l WHERE l.job_id = r.job_id)
  OR NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = r.job_id AND j.status = 'queued')""",
    "{} places in `later` are those of no queued job, or of a leased one": """
SELECT count(*) FROM later r WHERE EXISTS (SELECT 1 FROM leases l WHERE l.job_id = r.job_id)
  OR NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = r.job_id AND j.status = 'queued')""",
    "{} leases are those of no live job": """
SELECT count(*) FROM leases l WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = l.job_id AND j.status = 'queued')""",
    "{} live jobs have a parent that ended": """
SELECT count(*) FROM jobs j JOIN jobs p ON p.id = j.parent_id
WHERE j.parent_id <> '' AND j.status IN ('queued', 'waiting') AND p.status IN ('succeeded', 'failed', 'cancelled')""",
    "{} blobs that rows refer to are not there": """
SELECT count(*) FROM blob_refs r WHERE EXISTS (SELECT 1 FROM meta WHERE name = 'blobs')
  AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.id = r.blob_id AND b.bytes IS NOT NULL)""",
}


async def check(place: Place) -> list[str]:
    """What does not agree, one sentence each. Raises: StoreRefused, StoreUnavailable."""
    refuse_unless_current(place, await read_layout(place))
    link = Link(place, "check")
    problems: list[str] = []
    try:
        async with link.transaction(SNAPSHOT) as connection:
            await connection.execute(
                f"SET LOCAL statement_timeout = '{CHECK_SECONDS}s'; SET LOCAL enable_seqscan = on; "
                "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on"
            )
            for sentence, sql in _CHECKS.items():
                count = await connection.fetchval(sql)
                if count:
                    problems.append(sentence.format(count))
    except (*LOST, *BUSY) as exc:
        raise unavailable(exc) from exc
    finally:
        await link.close()
    return problems
