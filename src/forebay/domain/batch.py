"""Batch: a group whose children are the lines of a file. What its job carries, its cursor, and its report."""

from enum import StrEnum
from typing import Any

import msgspec

from forebay.domain.fanout import FanoutArgs
from forebay.domain.infer_args import Ceiling
from forebay.domain.job import OnUnknown
from forebay.domain.passed import Passed
from forebay.domain.record import Record

BATCH = "batch"  # the job's kind
MESSAGE_BATCH = "message_batch"  # the same work, asked for on Anthropic's wire: each wire sees its own alone
BATCH_KINDS = frozenset({BATCH, MESSAGE_BATCH})
OUTPUT = "output"  # the streams of segments
ERRORS = "errors"
LEDGER = "ledger"
MOST_ERRORS = 1_000  # of one input file. Source: wire.md
_JOB, _BATCH, _MESSAGE_BATCH, _FILE = "job_", "batch_", "msgbatch_", "file-"
_OUTPUT_MARK, _ERRORS_MARK = "o", "e"  # a 27th character, which no other id has


class Phase(StrEnum):
    """Where a batch stands in its own work."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"


class BatchArgs(Record, frozen=True, kw_only=True):
    """``spec.args`` of a batch. The budget stands in ``spec.budget_usd``; its lines share it."""

    input_file_id: str
    input_blob_id: str | None  # None: there was no such file when the batch was made; it fails for that
    endpoint: str
    completion_window: str = "24h"
    output_expires_after: float | None = None  # seconds from the making of the output file
    retry_of: str | None = None
    target: str | None = None  # this and the rest: for every line
    model: str | None = None  # in place of `body.model`
    schema: Any = None  # a JSON schema; msgspec decodes no `Raw | None`
    max_attempts: int = 5
    timeout_seconds: float | None = None
    on_unknown: OnUnknown = OnUnknown.RETRY
    data_class: str | None = None
    passed: Passed | None = None
    requests: int | None = None  # lines, where they were counted before the batch was made
    metadata: dict[str, str] = {}  # of every line's job
    budgets: tuple[Ceiling, ...] = ()  # that lines spend from, beside the batch's own
    fanout: FanoutArgs | None = None  # every line is a message to several targets
    hops: int = 0  # events that led here
    line_seconds: float | None = None  # from a line's job's making to its deadline, where that is earlier
    is_each_alone: bool = False  # a line whose model nobody serves fails alone, and not the whole batch


class Cursor(Record, frozen=True, kw_only=True):
    """``progress`` of a batch. ``offset`` and ``line`` say how much of the input was sent."""

    version: int = 1
    phase: Phase = Phase.VALIDATING
    total: int = 0  # lines, blank ones left out
    input_bytes: int = 0
    offset: int = 0  # of the first byte that was not sent
    line: int = 0  # lines before it, blank ones included
    sent: int = 0  # children made
    refused: int = 0  # lines that could not be made into jobs any more; they stand in the error file
    window: int = 0
    refilled_at: float | None = None  # when the window was full; None while it is being filled
    live: int | None = None  # while it is being filled: how many lines were live at most, so that none are counted
    in_progress_at: float | None = None
    finalizing_at: float | None = None

    @property
    def is_all_sent(self) -> bool:
        return self.offset >= self.input_bytes


class BatchError(Record, frozen=True, kw_only=True):
    """What is wrong with an input file; ``line`` counts from 1."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Report(Record, frozen=True, kw_only=True):
    """The result of a batch: ``completed + failed == total``."""

    total: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0  # of the failed: overtaken by the batch's cancelling
    expired: int = 0  # or by its deadline
    errors: tuple[BatchError, ...] = ()


_CURSOR = msgspec.json.Decoder(Cursor)
_ARGS = msgspec.json.Decoder(BatchArgs)


def cursor_of(progress: str | None) -> Cursor:
    """Reads a batch's progress; a new batch has none."""
    return _CURSOR.decode(progress) if progress else Cursor()


def args_of(args: str | None) -> BatchArgs:
    """Reads a batch's arguments."""
    return _ARGS.decode(args or "{}")


def batch_id(job_id: str) -> str:
    """``job_…`` as its batch is called."""
    return _BATCH + job_id.removeprefix(_JOB)


def job_id_of(named: str) -> str:
    """The job of a batch; of any other text, an id that no job has."""
    return _JOB + named.removeprefix(_BATCH) if named.startswith(_BATCH) else ""


def message_batch_id(job_id: str) -> str:
    """``job_…`` as Anthropic's wire calls its batch."""
    return _MESSAGE_BATCH + job_id.removeprefix(_JOB)


def message_batch_job_id(named: str) -> str:
    """The job of a message batch; of any other text, an id that no job has."""
    return _JOB + named.removeprefix(_MESSAGE_BATCH) if named.startswith(_MESSAGE_BATCH) else ""


def stream_file_id(job_id: str, stream: str) -> str:
    """The id of a batch's output or error file: known before there is a line in it."""
    return _FILE + job_id.removeprefix(_JOB) + (_OUTPUT_MARK if stream == OUTPUT else _ERRORS_MARK)
