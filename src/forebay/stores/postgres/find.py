"""``find``: one statement made of fixed pieces, so that each shape of a query walks the index meant for it."""

from collections.abc import Collection

from forebay.domain.job import TERMINAL, Job, Status
from forebay.domain.query import ROOTS_ONLY, JobQuery
from forebay.stores.postgres.labels import labels
from forebay.stores.postgres.reads import with_parts
from forebay.stores.postgres.transaction import Session
from forebay.stores.rows import decode_job

PLAIN_KIND = "infer"  # of nearly all roots: jobs_kinds leaves it out, and a page of it walks jobs_roots


async def find(session: Session, query: JobQuery) -> list[Job]:
    text, bindings = statement(query)
    jobs = [decode_job(row) for row in await session.text(text, bindings)]
    return await with_parts(session, jobs, query.parts)


class _Where:
    """Conditions, and the parameters they name by number."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.bindings: list[object] = []

    def say(self, condition: str) -> None:
        self.conditions.append(condition)

    def ask(self, condition: str, value: object) -> None:
        """``?`` stands for the value."""
        self.bindings.append(value)
        self.conditions.append(condition.replace("?", f"${len(self.bindings)}"))


def statement(query: JobQuery) -> tuple[str, list[object]]:
    """The SQL of a query and its parameters; a page of children in the order of their keys walks ``jobs_key``."""
    where = _Where()
    _scope(query, where)
    _filters(query, where)
    order = _order(query, where)
    conditions = " AND ".join(where.conditions) or "true"
    where.bindings.append(query.limit)
    # every piece is a constant of this module; what the caller says goes in as parameters
    text = f"SELECT r.* FROM job_rows r WHERE {conditions} ORDER BY {order} LIMIT ${len(where.bindings)}"  # noqa: S608
    return text, where.bindings


def _scope(query: JobQuery, where: _Where) -> None:
    if query.tenant is not None:
        where.ask("r.tenant = ?", query.tenant)
    if query.parent_id == ROOTS_ONLY:
        where.say("r.parent_id = ''")
    elif query.parent_id is not None:
        where.ask("r.parent_id = ? AND r.parent_id <> ''", query.parent_id)
    if query.is_collected is not None:
        where.say("r.is_collected" if query.is_collected else "NOT r.is_collected")
    if query.key is not None:
        where.ask("r.key = ? AND r.key <> ''" if query.key else "r.key = ?", query.key)
    if query.origin is not None:
        where.ask("r.origin = ? AND r.origin <> ''" if query.origin else "r.origin = ?", query.origin)


def _filters(query: JobQuery, where: _Where) -> None:
    if query.statuses:
        where.say(_statuses(query.statuses))
    for text, value in (
        ("r.target = ?", query.target),
        ("r.model = ?", query.model),
        ("r.error_code = ?", query.code),
        ("r.created_at > ?", query.created_after),
        ("r.created_at < ?", query.created_before),
    ):
        if value is not None:
            where.ask(text, value)
    if query.kinds and PLAIN_KIND not in query.kinds:
        where.say(f"r.kind <> '{PLAIN_KIND}'")  # the condition of jobs_kinds
    if len(query.kinds) == 1:
        where.ask("r.kind = ?", min(query.kinds))
    elif query.kinds:
        where.ask("r.kind = ANY(?::text[])", sorted(query.kinds))
    if query.without_kinds:
        where.ask("r.kind <> ALL(?::text[])", sorted(query.without_kinds))
    if query.metadata:
        where.ask("r.metadata @> ?::jsonb", labels(query.metadata))


def _statuses(asked: frozenset[Status]) -> str:
    """`running` is `queued` with a lease; the row's own status is compared too, because indexes know that one."""
    stored = {Status.QUEUED if status is Status.RUNNING else status for status in asked}
    text = _among("r.status", stored)
    if (Status.QUEUED in asked) != (Status.RUNNING in asked):
        text += " AND " + _among("r.state", asked)
    if asked == {Status.RUNNING}:
        text += " AND r.id IN (SELECT job_id FROM leases)"  # what is in flight is few: the plan starts there
    if asked <= TERMINAL:
        text += " AND r.status IN ('succeeded', 'failed', 'cancelled')"  # the condition of jobs_done
    return text


def _among(column: str, statuses: Collection[Status]) -> str:
    if len(statuses) == 1:
        return f"{column} = '{min(statuses)}'"
    return f"{column} IN ({', '.join(repr(str(status)) for status in sorted(statuses))})"


def _order(query: JobQuery, where: _Where) -> str:
    if query.parent_id and query.is_ascending:
        where.say("r.key <> ''")  # true of every child: makes jobs_key usable
        if query.after is not None:
            where.ask("r.key > (SELECT a.key FROM jobs a WHERE a.id = ?)", query.after)
        return "r.key, r.id"
    if query.after is not None:
        where.ask("r.id > ?" if query.is_ascending else "r.id < ?", query.after)
    return "r.id" if query.is_ascending else "r.id DESC"
