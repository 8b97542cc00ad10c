"""``find``: one statement made of fixed pieces, so that each shape of a query walks the index meant for it."""

from collections.abc import Collection

from forebay.domain.job import TERMINAL, Job, Status
from forebay.domain.query import ROOTS_ONLY, JobQuery
from forebay.stores.rows import decode_job
from forebay.stores.sqlite.reads import with_parts
from forebay.stores.sqlite.transaction import Binding, Session, as_json

PLAIN_KIND = "infer"  # of nearly all roots: jobs_kinds leaves it out, and a page of it walks jobs_roots


def find(session: Session, query: JobQuery) -> list[Job]:
    text, bindings = statement(query)
    jobs = [decode_job(row) for row in session.connection.execute(text, bindings).fetchall()]
    return with_parts(session, jobs, query.parts)


def statement(query: JobQuery) -> tuple[str, dict[str, Binding]]:
    """The SQL of a query and its parameters; a page of children in the order of their keys walks ``jobs_key``."""
    conditions: list[str] = []
    bindings: dict[str, Binding] = {"limit": query.limit}
    _scope(query, conditions, bindings)
    _filters(query, conditions, bindings)
    order = _order(query, conditions, bindings)
    where = " AND ".join(conditions) or "true"
    # every piece is a constant of this module; what the caller says goes in as parameters
    return f"SELECT r.* FROM job_rows r WHERE {where} ORDER BY {order} LIMIT :limit", bindings  # noqa: S608


def _scope(query: JobQuery, conditions: list[str], bindings: dict[str, Binding]) -> None:
    if query.tenant is not None:
        conditions.append("r.tenant = :tenant")
        bindings["tenant"] = query.tenant
    if query.parent_id == ROOTS_ONLY:
        # few jobs wait among many roots: the sign keeps jobs_roots out of it, for jobs_waiting
        conditions.append("+r.parent_id = ''" if query.statuses == {Status.WAITING} else "r.parent_id = ''")
    elif query.parent_id is not None:
        conditions.append("r.parent_id = :parent AND r.parent_id <> ''")
        bindings["parent"] = query.parent_id
    if query.is_collected is not None:
        conditions.append("r.is_collected = :collected")
        bindings["collected"] = int(query.is_collected)
    if query.key is not None:
        conditions.append("r.key = :key AND r.key <> ''" if query.key else "r.key = :key")
        bindings["key"] = query.key
    if query.origin is not None:
        conditions.append("r.origin = :origin AND r.origin <> ''" if query.origin else "r.origin = :origin")
        bindings["origin"] = query.origin


def _filters(query: JobQuery, conditions: list[str], bindings: dict[str, Binding]) -> None:
    if query.statuses:
        conditions.append(_statuses(query.statuses))
    for name, text in (
        ("target", "r.fixed ->> '$.spec.target' = :target"),
        ("model", "r.fixed ->> '$.spec.model' = :model"),
        ("code", "r.error_code = :code"),
        ("created_after", "r.created_at > :created_after"),
        ("created_before", "r.created_at < :created_before"),
    ):
        value = getattr(query, name)
        if value is not None:
            conditions.append(text)
            bindings[name] = value
    if len(query.kinds) == 1:  # jobs_kinds
        conditions.append("r.kind = :kind")
        bindings["kind"] = min(query.kinds)
    elif query.kinds:
        conditions.append("r.kind IN (SELECT value FROM json_each(:kinds))")
        bindings["kinds"] = as_json(sorted(query.kinds))
    if query.kinds and PLAIN_KIND not in query.kinds:
        conditions.append(f"r.kind <> '{PLAIN_KIND}'")  # to the letter the condition of jobs_kinds
    if query.without_kinds:
        conditions.append("r.kind NOT IN (SELECT value FROM json_each(:without_kinds))")
        bindings["without_kinds"] = as_json(sorted(query.without_kinds))
    if query.metadata:
        conditions.append(
            "NOT EXISTS (SELECT 1 FROM json_each(:metadata) m LEFT JOIN json_each(r.fixed, '$.spec.metadata') n"
            " ON n.key = m.key AND n.value = m.value WHERE n.key IS NULL)"
        )
        bindings["metadata"] = as_json(query.metadata)


def _statuses(asked: frozenset[Status]) -> str:
    """`running` is `queued` with a lease; the row's own status is compared too, because indexes know that one."""
    stored = {Status.QUEUED if status is Status.RUNNING else status for status in asked}
    text = _among("r.status", stored)
    if (Status.QUEUED in asked) != (Status.RUNNING in asked):
        text += " AND " + _among("r.state", asked)
    if asked == {Status.RUNNING}:
        text += " AND r.id IN (SELECT l.job_id FROM leases l)"
    if asked <= TERMINAL:
        text += " AND r.status IN ('succeeded', 'failed', 'cancelled')"  # to the letter the condition of jobs_done
    return text


def _among(column: str, statuses: Collection[Status]) -> str:
    if len(statuses) == 1:
        return f"{column} = '{min(statuses)}'"
    return f"{column} IN ({', '.join(repr(str(status)) for status in sorted(statuses))})"


def _order(query: JobQuery, conditions: list[str], bindings: dict[str, Binding]) -> str:
    bindings_after = query.after is not None
    if bindings_after:
        bindings["after"] = query.after
    if query.parent_id and query.is_ascending:
        conditions.append("r.key <> ''")  # true of every child: makes jobs_key usable
        if bindings_after:
            conditions.append("r.key > (SELECT a.key FROM jobs a WHERE a.id = :after)")
        unsorted = query.is_collected is False and query.statuses and query.statuses <= TERMINAL
        # what was not taken over yet is a window's worth in jobs_children: sorting it beats walking the dead by key
        return "+r.key, r.id" if unsorted else "r.key, r.id"
    if bindings_after:
        conditions.append("r.id > :after" if query.is_ascending else "r.id < :after")
    return "r.id" if query.is_ascending else "r.id DESC"
