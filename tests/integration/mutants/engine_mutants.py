"""Ways to break the engine and its store, each with what the simulation has to say of it.

One fault at a time: a function that is put in the place of another, or the text of a statement.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
from msgspec.structs import replace

from forebay.domain.attempt import Attempt
from forebay.domain.change import Change, Verdict
from forebay.domain.errors import StoreUnavailable
from forebay.engine import runner
from forebay.engine.context import Context
from forebay.engine.finisher import Finisher
from forebay.engine.ledger import Ledger
from forebay.engine.runner import Runner
from forebay.engine.worker import WorkerProcess
from forebay.policy import lifecycle
from forebay.stores.ends import End
from forebay.stores.sqlite import answers, jobs, workers
from forebay.stores.sqlite.transaction import Row, Tx
from forebay.stores.sqlite.writer import Call, Reply, Writer
from forebay.testing.simulation import store
from tests.integration.mutants.planting import Breaks, all_of, function, statement

BEGIN, WRITE, HAND_BACK, RETRY = Ledger.begin, Finisher._write, lifecycle.hand_back, lifecycle._retry
BEGIN_OF_CONTEXT = Context.begin
END_OF_FREED, TEMPLATE, TRANSACT = workers._end_of_freed, store._template, Writer._transact


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMutant:
    """One fault. ``says``: words of the sentence with which the simulation notices it."""

    name: str
    breaks: Breaks
    says: str


def _begin_and_go_on(self: Ledger, attempt: Attempt) -> "asyncio.Future[Verdict]":
    written = BEGIN(self, attempt)
    written.add_done_callback(lambda future: future.cancelled() or future.exception())
    allowed: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    allowed.set_result(Verdict.APPLIED)
    return allowed


async def _write_once(self: Finisher, changes: list[Change]) -> list[Verdict]:
    try:
        return await self._jobs.apply(changes)
    except StoreUnavailable:
        return [Verdict.LEASE_LOST] * len(changes)


async def _begin_and_forget(self: Context, attempt: Attempt) -> None:
    try:
        await BEGIN_OF_CONTEXT(self, attempt)
    except StoreUnavailable:
        del self.attempts[attempt.number]
        raise


async def _settle_nobody(*_: object) -> None:
    """No parent is told."""


def _hand_back_used(*arguments: Any, **options: Any) -> Change:
    return replace(HAND_BACK(*arguments, **options), attempts_used=1)


def _retry_for_ever(job: Any, *rest: Any) -> Change:
    return RETRY(replace(job, spec=replace(job.spec, max_attempts=1000)), *rest)


def _forget_hold(row: Row, lone_rescues: int) -> End | None:
    return END_OF_FREED((*row[:8], "retry", *row[9:]), lone_rescues)


def _forget_ending(row: Row, lone_rescues: int) -> End | None:
    return END_OF_FREED((*row[:4], None, *row[5:]), lone_rescues)


def _blame_anyone(row: Row, lone_rescues: int) -> End | None:
    return END_OF_FREED(row, lone_rescues + 2 * int(row[6] >= 1))


def _keep_what_is_held(tx: Tx, worker: Any) -> int:
    tx.run("workers.register", worker.id, worker.epoch, worker.host, worker.pid, worker.pid_started, "[]", 1e6, tx.now)
    return 0


async def _claim_suspect_at_once(self: WorkerProcess) -> int:
    now = self._services.clock.now()
    wants = self._suspects.among(self.lanes.wants(now))
    claimed = await self._claim(wants, is_alone=True) if wants else []
    self._suspects.were_tried(is_found=bool(claimed), now=now, seconds=0.0)
    return len(claimed)


def _answer_whatever_comes(
    self: Writer, groups: list[list[Call]], run: Callable[[Tx, list[Call]], list[Reply]], **options: Any
) -> list[Reply]:
    heard: list[Reply] = []

    def listening(tx: Tx, group: list[Call]) -> list[Reply]:
        replies = run(tx, group)
        heard.extend(replies)
        return replies

    try:
        return TRANSACT(self, groups, listening, **options)
    except apsw.FullError:
        return heard


def _without_unique_keys() -> bytes:
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", TEMPLATE())
    connection.execute("DROP INDEX jobs_key; CREATE INDEX jobs_key ON jobs (tenant, parent_id, key) WHERE key <> ''")
    return connection.serialize("main")


def _tell_nobody(_: Tx, __: Sequence[str]) -> None:
    """No notices."""


MUTANTS = (
    EngineMutant(
        name="a call is sent before its attempt is written",
        breaks=function(Ledger, "begin", _begin_and_go_on),
        says="which is not in the ledger",
    ),
    EngineMutant(
        name="a call whose begin is in doubt is forgotten",
        breaks=function(Context, "begin", _begin_and_forget),
        says="has an attempt that never ended",
    ),
    EngineMutant(
        name="an answer is applied under any fence",
        breaks=statement("apply.states", "l.fence = q.value->>0 AND ", ""),
        says="UNIQUE constraint failed: leases.job_id",
    ),
    EngineMutant(
        name="answers are dropped while the store is away",
        breaks=function(Finisher, "_write", _write_once),
        says="never ended",
    ),
    EngineMutant(
        name="nobody wakes parents, and the sweep does not either",
        breaks=all_of(
            function(Finisher, "_settle", _settle_nobody), statement("recover.waiting", "id > ?1", "id > 'z' || ?1")
        ),
        says="never ended",
    ),
    EngineMutant(
        name="the sweep wakes no parent of a crash",
        breaks=statement("recover.waiting", "id > ?1", "id > 'z' || ?1"),
        says="never ended",
    ),
    EngineMutant(
        name="a worker that lost its leases goes on",
        breaks=function(Runner, "drop_all", lambda _: None),
        says="whose lease it lost",
    ),
    EngineMutant(
        name="suspects are run beside others",
        breaks=statement("ready.places", "j.rescues >= 2", "0"),
        says="never ended",
    ),
    EngineMutant(
        name="a suspect is claimed beside what runs",
        breaks=all_of(
            function(WorkerProcess, "_claim_suspect", _claim_suspect_at_once),
            statement("claim.holds", "SELECT EXISTS (SELECT 1 FROM leases WHERE worker_id = ?1)", "SELECT ?1 IS NULL"),
            statement("claim.look", "l.is_alone = 1 AND l.worker_id = ?3", "0 AND l.worker_id = ?3"),
        ),
        says="runs beside",
    ),
    EngineMutant(
        name="a rescued job's attempt goes on as running",
        breaks=statement("rescue.doubt", "outcome = 'running' AND", "0 AND"),
        says="has an attempt that never ended",
    ),
    EngineMutant(
        name="a job that is handed back has used an attempt",
        breaks=function(runner, "hand_back", _hand_back_used),
        says="attempts and has",
    ),
    EngineMutant(
        name="a claim leaves the job to be claimed again",
        breaks=statement("claim.take", "DELETE FROM ready WHERE", "DELETE FROM ready WHERE 0 AND"),
        says="UNIQUE constraint failed: leases.job_id",
    ),
    EngineMutant(
        name="a job is tried for ever",
        breaks=function(lifecycle, "_retry", _retry_for_ever),
        says="attempts of",
    ),
    EngineMutant(
        name="what is held after an unknown end is sent again",
        breaks=function(workers, "_end_of_freed", _forget_hold),
        says="of which nobody knows the end",
    ),
    EngineMutant(
        name="a cancelling is forgotten with its worker",
        breaks=function(workers, "_end_of_freed", _forget_ending),
        says="was cancelled and then given out again",
    ),
    EngineMutant(
        name="a neighbour of poison is blamed",
        breaks=function(workers, "_end_of_freed", _blame_anyone),
        says="ended as poison and was alone",
    ),
    EngineMutant(
        name="a worker drains and keeps its leases",
        breaks=all_of(
            function(jobs, "retire", _keep_what_is_held),
            function(Runner, "_give_up", lambda *_: None),
        ),
        says="has drained and holds",
    ),
    EngineMutant(
        name="what the disk refused is acknowledged",
        breaks=function(Writer, "_transact", _answer_whatever_comes),
        says="was acknowledged and is gone",
    ),
    EngineMutant(
        name="one key makes two jobs",
        breaks=function(store, "_template", _without_unique_keys),
        says="was given to",
    ),
    EngineMutant(
        name="an answer writes no outbox",
        breaks=function(answers, "add_notices", _tell_nobody),
        says="has its notice",
    ),
    EngineMutant(
        name="a lane's cap is ignored",
        breaks=statement("claim.look", "l.lane = w.value->>1", "l.lane = ''"),
        says="leases and may have",
    ),
)
