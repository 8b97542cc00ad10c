"""The indexes that hot statements walk: a million queued jobs must not slow a claim, an add, a settle or a page."""

import re

import apsw
import pytest

from forebay.domain.job import TERMINAL, Status
from forebay.domain.query import JobQuery
from forebay.stores.sqlite.find import statement
from forebay.stores.sqlite.statements import migrations, statements

SMALL = {"workers", "l", "leases", "lessons", "ranks"}  # scanned by name: what is in flight, and few others
REPORTS = {"read.depths", "recover.overlong_pauses"}  # whole counts, for metrics; once after the clock was set back
WIDTHS = {  # of the rows that `?*` stands for
    "add.insert_jobs": 21,
    "add.insert_jobs_telling": 21,
    "add.insert_bodies": 4,
    "begin.insert": 6,
    "apply.complete": 11,
    "apply.insert_results": 6,
}
SORTS = ("ORDER BY", "GROUP BY")


@pytest.fixture(scope="module")
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for _, text in migrations():
        connection.execute(text)
    return connection


def _plan(connection: apsw.Connection, text: str, bindings: object = None) -> str:
    if bindings is None:
        bindings = (None,) * max([0, *map(int, re.findall(r"\?(\d)", text))])
    rows = connection.execute("EXPLAIN QUERY PLAN " + text, bindings).fetchall()
    return "\n".join(row[3] for row in rows)


def _text(name: str) -> str:
    row = "(" + ",".join(["NULL"] * WIDTHS.get(name, 0)) + ")"
    return statements()[name].replace("?*", f"{row}, {row}")


@pytest.mark.parametrize("name", sorted(statements()))
def test_no_statement_scans_a_table_that_grows_with_the_jobs(connection: apsw.Connection, name: str) -> None:
    if name in REPORTS:
        return
    text = _text(name)
    plan = _plan(connection, text)
    for table in re.findall(r"SCAN (?!\d+-ROW VALUES)(\w+)\b(?! VIRTUAL TABLE)", plan):
        is_given = re.search(rf"(jsonb?_each\([^)]*\)|NULL\)\))\s+{table}\b", text)
        is_recursive = re.search(rf"WITH RECURSIVE {table}\b|FROM (tree|queues) {table}\b", text)
        assert is_given or is_recursive or table in SMALL | {"CONSTANT"}, plan
    assert "AUTOMATIC" not in plan


@pytest.mark.parametrize(
    ("name", "walk"),
    [
        ("claim.next", "ready USING PRIMARY KEY (queue=? AND is_suspect=?)"),
        ("claim.take", "ready USING PRIMARY KEY (queue=? AND is_suspect=? AND urgency=? AND rank=? AND job_id=?)"),
        ("claim.look", "l USING COVERING INDEX leases_lane (lane=?)"),
        ("claim.read", "j USING PRIMARY KEY (id=?)"),
        ("begin.insert", "l USING INTEGER PRIMARY KEY (rowid=?)"),
        ("apply.states", "l USING INTEGER PRIMARY KEY (rowid=?)"),
        ("apply.update", "jobs USING PRIMARY KEY (id=?)"),
        ("apply.complete", "attempts USING PRIMARY KEY (job_id=? AND number=?)"),
        (
            "ready.leave_ready",
            "ready USING PRIMARY KEY (queue=? AND is_suspect=? AND urgency=? AND rank=? AND job_id=?)",
        ),
        ("ready.take_due", "later USING PRIMARY KEY (due_at<?)"),
        ("settle.joins", "INDEX jobs_children (parent_id=? AND is_collected=? AND status=?)"),
        ("settle.count_live", "INDEX jobs_children (parent_id=? AND is_collected=? AND status=?)"),
        ("settle.count_succeeded", "INDEX jobs_children (parent_id=? AND is_collected=? AND status=?)"),
        ("end.live_children", "INDEX jobs_children (parent_id=? AND is_collected=? AND status=?)"),
        ("recover.late_leaves", "j USING INDEX jobs_deadline"),
        ("recover.timed_joins", "INDEX jobs_until"),
        ("recover.waiting", "INDEX jobs_waiting (id>?)"),
        ("prune.ended", "INDEX jobs_ended (finished_at<?)"),
        ("read.last_ended", "INDEX jobs_ended"),
        ("read.ended_since", "INDEX jobs_ended (finished_at>?)"),
        ("read.chunks_since", "chunks USING INTEGER PRIMARY KEY (rowid>?)"),
        ("read.backlog", "COVERING INDEX jobs_live (tenant=?)"),
        ("read.orphans", "INDEX blob_refs_blob (blob_id=?)"),
        ("records.list_up", "records USING PRIMARY KEY (tenant=? AND kind=? AND id>?)"),
        ("records.list_all_up", "INDEX records_by_id (kind=? AND id>?)"),
    ],
)
def test_a_hot_statement_walks_the_index_meant_for_it(connection: apsw.Connection, name: str, walk: str) -> None:
    assert walk in _plan(connection, _text(name))


@pytest.mark.parametrize(
    ("query", "walk"),
    [
        (JobQuery(tenant="t"), "jobs_roots (tenant=?)"),
        (JobQuery(tenant="t", after="a"), "jobs_roots (tenant=? AND id<?)"),
        (JobQuery(tenant="t", kinds=frozenset({"batch"})), "jobs_kinds (tenant=? AND kind=?)"),
        (JobQuery(tenant="t", statuses=frozenset({Status.FAILED})), "jobs_done (tenant=? AND status=?)"),
        (JobQuery(tenant="t", statuses=frozenset({Status.WAITING})), "jobs_waiting"),
        (JobQuery(tenant="t", statuses=frozenset({Status.RUNNING})), "jobs_roots (tenant=? AND id=?)"),
        (JobQuery(tenant="t", statuses=frozenset({Status.FAILED}), parent_id=None), "jobs_dead (tenant=?)"),
        (JobQuery(tenant="t", key="k"), "jobs_key (tenant=? AND parent_id=? AND key=?)"),
        (JobQuery(tenant="t", origin="o"), "jobs_origin (tenant=? AND origin=?)"),
        (JobQuery(tenant="t", parent_id="p", is_ascending=True), "jobs_key (tenant=? AND parent_id=?)"),
        (
            JobQuery(tenant="t", parent_id="p", is_ascending=True, after="a"),
            "jobs_key (tenant=? AND parent_id=? AND key>?)",
        ),
        (
            JobQuery(tenant="t", parent_id="p", is_ascending=True, is_collected=False, statuses=TERMINAL),
            "jobs_children (parent_id=? AND is_collected=? AND status=?)",
        ),
    ],
)
def test_a_page_walks_the_index_meant_for_it(connection: apsw.Connection, query: JobQuery, walk: str) -> None:
    text, bindings = statement(query)
    assert walk in _plan(connection, text, bindings)
