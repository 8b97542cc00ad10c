"""Ways to break the SQLite store, each with the tests of the published suite that must notice.

A mutant changes the text of one statement, or puts another function in the place of one; a text that is not found any
more fails loudly: then the store was changed, and the mutant must be mended.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from forebay.domain.change import Change
from forebay.domain.job import JobError, Status
from forebay.domain.stored import StoredRecord
from forebay.ports import Rate
from forebay.stores.sqlite import answers, ending, limits, placing, records, transaction
from forebay.testing.conformance.adding import Adding
from forebay.testing.conformance.applying import Outbox, Spawning
from forebay.testing.conformance.attempts import Fences, LateAnswers
from forebay.testing.conformance.cancelling import CancellingGroups, CancellingLeaves
from forebay.testing.conformance.claiming import Capping, Claiming
from forebay.testing.conformance.collecting import Collecting, Segments
from forebay.testing.conformance.finding import Tenants
from forebay.testing.conformance.joining import Joining, Settling
from forebay.testing.conformance.limits import LimitStoreSuite
from forebay.testing.conformance.pruning import Pruning, References
from forebay.testing.conformance.records import RecordStoreSuite
from forebay.testing.conformance.recovering import Heartbeats, Zombies
from forebay.testing.conformance.retrying import Retrying
from forebay.testing.conformance.streams import Streams
from forebay.testing.conformance.suspects import Suspects
from forebay.testing.conformance.world import World
from tests.integration.mutants.planting import Breaks, function, layout, statement

PUT_ONE = records._put_one
ADD_NOTICES = ending.add_notices
Test = Callable[[Any, World], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One way to break the store."""

    name: str
    breaks: Breaks
    caught_by: tuple[Test, ...]


def _tell_nobody(*_: object) -> None:
    """No notices."""


def _forget_the_ending(change: Change, _: object) -> tuple[Status, JobError | None]:
    return change.status, change.error


def _put_anyway(tx: transaction.Tx, record: StoredRecord) -> object:
    known = tx.run("records.get", record.tenant, record.kind, record.id, tx.now)
    return PUT_ONE(tx, replace(record, version=known[0][3] if known else 0))


def _never_full(tx: transaction.Tx, rate: Rate) -> float:
    rows = tx.run("limits.full_at", rate.name)
    return float(rows[0][0]) if rows else tx.now


class TellLater:
    """Adds the notices of one transaction in the next: a crash between the two loses them."""

    def __init__(self) -> None:
        self._left: list[str] = []

    def __call__(self, tx: transaction.Tx, job_ids: list[str]) -> None:
        now, self._left = self._left, job_ids
        ADD_NOTICES(tx, now)


MUTANTS = (
    Mutant(
        name="apply accepts any fence of the job",
        breaks=statement("apply.states", "l.fence = q.value->>0 AND ", ""),
        caught_by=(LateAnswers.test_a_late_answer_of_a_stale_worker_changes_no_job_but_completes_its_attempt,),
    ),
    Mutant(
        name="begin accepts any fence of the job",
        breaks=statement("begin.insert", "l.fence = q.column3 AND ", ""),
        caught_by=(Fences.test_a_call_is_begun_only_under_the_current_lease,),
    ),
    Mutant(
        name="fences are used again",
        breaks=layout("AUTOINCREMENT", ""),
        caught_by=(Fences.test_fences_grow_with_every_claim_in_the_store,),
    ),
    Mutant(
        name="a stream is not fenced",
        breaks=statement("change.has_lease", "fence = ?1 AND job_id = ?2", "job_id = ?2 OR ?1 < 0"),
        caught_by=(Streams.test_a_stale_worker_adds_nothing,),
    ),
    Mutant(
        name="keys are not unique",
        breaks=layout("CREATE UNIQUE INDEX jobs_key", "CREATE INDEX jobs_key"),
        caught_by=(
            Adding.test_a_known_key_adds_nothing_and_names_the_first_job,
            Spawning.test_spawning_again_adds_nothing,
        ),
    ),
    Mutant(
        name="a join is met while children are live",
        breaks=statement("settle.joins", "c.status IN ('queued', 'waiting')", "c.status = 'waiting'"),
        caught_by=(Joining.test_a_child_that_is_queued_again_is_live, Settling.test_recover_wakes_nobody_early),
    ),
    Mutant(
        name="a failure counts as a success of a quorum",
        breaks=statement("settle.count_succeeded", "status = 'succeeded'", "status IN ('succeeded', 'failed')"),
        caught_by=(Joining.test_first_wakes_with_the_first_success_and_with_no_failure,),
    ),
    Mutant(
        name="recover wakes no parent of a crash",
        breaks=statement("recover.waiting", "id > ?1", "id > 'z' || ?1"),
        caught_by=(Settling.test_recover_wakes_the_parents_of_a_crash_before_settle,),
    ),
    Mutant(
        name="a cancel writes no outbox",
        breaks=function(ending, "add_notices", _tell_nobody),
        caught_by=(CancellingLeaves.test_a_queued_job_ends_at_once_and_tells,),
    ),
    Mutant(
        name="an answer writes no outbox",
        breaks=function(answers, "add_notices", _tell_nobody),
        caught_by=(Outbox.test_the_end_of_a_root_adds_its_notices,),
    ),
    Mutant(
        name="the outbox is written with the transaction after",
        breaks=function(answers, "add_notices", TellLater()),
        caught_by=(Outbox.test_the_end_of_a_root_adds_its_notices,),
    ),
    Mutant(
        name="collect counts a child each time it is named",
        breaks=statement("apply.takeable", "j.is_collected = 0", "1"),
        caught_by=(Collecting.test_a_child_named_twice_is_counted_once,),
    ),
    Mutant(
        name="collect takes any ended job",
        breaks=statement("apply.takeable", "j.parent_id = ?2", "?2 <> ''"),
        caught_by=(Collecting.test_only_a_groups_own_ended_children_are_collected,),
    ),
    Mutant(
        name="segments are numbered with gaps",
        breaks=statement("apply.next_numbers", "max(number) + 1", "max(number) + 2"),
        caught_by=(Segments.test_segments_are_numbered_by_name_in_the_order_of_their_commits,),
    ),
    Mutant(
        name="a lane's cap is ignored",
        breaks=statement("claim.look", "l.lane = w.value->>1", "l.lane = ''"),
        caught_by=(
            Capping.test_a_lane_never_holds_more_leases_than_its_cap,
            Capping.test_claimers_at_the_same_time_share_no_job_and_pass_no_cap,
        ),
    ),
    Mutant(
        name="a tenant's last rank is forgotten",
        breaks=statement("ready.charge", "max(ranks.last + excluded.charged, excluded.last)", "excluded.last"),
        caught_by=(Claiming.test_two_tenants_take_turns_however_much_one_has_queued,),
    ),
    Mutant(
        name="a queue has no clock",
        breaks=statement("ready.advance_clock", "max(ranks.last, excluded.last)", "0.0"),
        caught_by=(Claiming.test_an_idle_tenant_saves_up_no_turns,),
    ),
    Mutant(
        name="a late answer completes no attempt",
        breaks=statement("apply.complete", "IN ('running', 'unknown')", "= 'running'"),
        caught_by=(LateAnswers.test_a_late_answer_of_a_stale_worker_changes_no_job_but_completes_its_attempt,),
    ),
    Mutant(
        name="an answered attempt is written over",
        breaks=statement("apply.complete", "attempts.outcome IN ('running', 'unknown')", "1"),
        caught_by=(LateAnswers.test_a_completed_attempt_is_not_written_over,),
    ),
    Mutant(
        name="a group's ending is forgotten by its answer",
        breaks=function(answers, "decide", _forget_the_ending),
        caught_by=(
            CancellingGroups.test_a_cancelled_group_finishes_its_handler_and_ends_cancelled_with_its_output,
            CancellingLeaves.test_a_job_asked_to_stop_is_never_queued_again,
        ),
    ),
    Mutant(
        name="an ended parent leaves its children alone",
        breaks=function(answers, "cancel_children", lambda *_: set()),
        caught_by=(Spawning.test_an_ended_parent_leaves_no_live_child,),
    ),
    Mutant(
        name="a lease that ran out is not freed",
        breaks=statement("rescue.lost", "OR w.epoch <> l.epoch OR w.is_dead = 1", ""),
        caught_by=(Heartbeats.test_leases_run_out_with_the_heartbeat_and_not_before,),
    ),
    Mutant(
        name="a dead worker's epoch goes on",
        breaks=statement("workers.bury", "epoch = epoch + 1, ", ""),
        caught_by=(Zombies.test_a_worker_whose_leases_were_taken_is_told_so_and_may_start_anew,),
    ),
    Mutant(
        name="a call of an earlier lease counts as a rescue",
        breaks=statement("rescue.look", "a.job_id = l.job_id AND a.fence = l.fence)", "a.job_id = l.job_id)"),
        caught_by=(Suspects.test_a_call_of_an_earlier_lease_counts_no_rescue,),
    ),
    Mutant(
        name="a poll waits behind what is new",
        breaks=statement("ready.places", "a.outcome = 'running'", "0"),
        caught_by=(Claiming.test_what_goes_on_elsewhere_is_asked_for_before_anything_new_is_sent,),
    ),
    Mutant(
        name="what was polled once goes first for ever",
        breaks=statement("ready.places", "ELSE j.urgency + 10000 END", "ELSE j.urgency END"),
        caught_by=(Claiming.test_what_goes_on_elsewhere_is_asked_for_before_anything_new_is_sent,),
    ),
    Mutant(
        name="a poll costs a turn",
        breaks=function(placing, "charged", lambda _urgency, cost: cost),
        caught_by=(Claiming.test_asking_for_what_goes_on_elsewhere_costs_its_tenant_hardly_a_turn,),
    ),
    Mutant(
        name="suspects are claimed beside others",
        breaks=statement("ready.places", "j.rescues >= 2", "0"),
        caught_by=(Suspects.test_a_job_rescued_twice_is_claimed_alone_only,),
    ),
    Mutant(
        name="tenants are not told apart",
        breaks=statement("change.look", "j.tenant = ?2", "?2 <> ''"),
        caught_by=(
            Tenants.test_a_job_of_another_tenant_is_not_cancelled,
            Tenants.test_a_job_of_another_tenant_is_not_retried,
            Tenants.test_a_job_of_another_tenant_is_not_erased,
        ),
    ),
    Mutant(
        name="a retry gives no fresh attempts",
        breaks=statement("change.revive", "attempts_used = 0, ", ""),
        caught_by=(Retrying.test_an_exhausted_job_has_all_its_attempts_again,),
    ),
    Mutant(
        name="prune takes a job whose notice is undelivered",
        breaks=statement("prune.ended", "n.key <> ''", "n.key = ''"),
        caught_by=(Pruning.test_a_job_whose_notice_is_undelivered_stays,),
    ),
    Mutant(
        name="a record is written over whatever its version",
        breaks=function(records, "_put_one", _put_anyway),
        caught_by=(
            RecordStoreSuite.test_a_record_changes_against_its_version_alone,
            RecordStoreSuite.test_of_many_that_change_one_version_together_one_wins,
        ),
    ),
    Mutant(
        name="a rate refills beyond its burst",
        breaks=function(limits, "_full_at", _never_full),
        caught_by=(LimitStoreSuite.test_a_rate_never_saves_up_more_than_its_burst,),
    ),
    Mutant(
        name="a deleted row's references stay",
        breaks=statement("delete.refs", "WHERE owner IN", "WHERE 0 AND owner IN"),
        caught_by=(References.test_blobs_are_referred_to_while_their_job_has_a_row,),
    ),
)
