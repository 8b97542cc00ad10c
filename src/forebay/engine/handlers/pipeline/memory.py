"""What a step made of what: fingerprints of steps, and the records that hold from one run to the next.

A step whose definition, inputs and surroundings have the fingerprint of an earlier time is not run again.
"""

import contextlib
import hashlib
import re
from typing import Any

import msgspec

from forebay.domain.errors import NotFound, RequestError, TargetError, VersionConflict
from forebay.domain.pipeline import (
    EFFECT_KINDS,
    INFERENCE_KINDS,
    MEMORY,
    StepKind,
    StepMemory,
    StepOutcome,
    StepOutput,
    StepWork,
    run_id,
    segments_of,
    step_memory,
)
from forebay.domain.stored import StoredRecord
from forebay.engine.handlers.inference.making import asks_of
from forebay.engine.services import Services

SINKS = frozenset({StepKind.WRITE, StepKind.REPORT, StepKind.INDEX})  # what they depend on is what they have made
_TRIES = 10  # of a change that other runs are making too
_RUN_NAME = re.compile(r"\brun\W{1,4}(\w+)")  # `{run.date}`, `run['date']`


async def fingerprint_of(work: StepWork, services: Services) -> str | None:
    """What a step is to be made of, as a hash; None: nobody can say, it is to be run."""
    if work.step.kind in EFFECT_KINDS or services.tables is None:
        return None
    try:
        outside = await services.tables.fingerprint(work)
        asked = asks_of(work, services).asked.place if work.step.kind in INFERENCE_KINDS else None
    except (RequestError, TargetError):  # the step will meet the same, and say so in its own name
        outside = None
    if outside is None:
        return None
    step = work.step
    told = {
        "kind": step.kind.value,
        "options": step.options,
        "tolerance": step.tolerance,
        "inputs": {name: digest_of(work.inputs[name]) for name in step.inputs},
        "scope": _scope_used(work),
        "asked": asked,
        "outside": outside,
    }
    return hashlib.blake2b(msgspec.json.encode(told, order="sorted"), digest_size=16).hexdigest()


def digest_of(output: StepOutput) -> str:
    """What tells one output from another."""
    value = b"" if output.value is None else msgspec.json.encode(output.value, order="sorted")
    table = "" if output.table is None else output.table.digest
    return hashlib.blake2b(table.encode() + b"\n" + value, digest_size=16).hexdigest()


async def recall(work: StepWork, services: Services) -> StepMemory | None:
    """What the step made last; None if that is gone."""
    record = await services.records.get(work.tenant, MEMORY, _id(work))
    return None if record is None else step_memory(record.data)


async def is_there(outcome: StepOutcome, services: Services) -> bool:
    """Whether an earlier output can still be read: its run may have been erased."""
    try:
        for segment in segments_of(outcome.output):
            await services.blobs.size(segment.blob_id)
    except NotFound:
        return False
    return True


async def remember(work: StepWork, before: str, outcome: StepOutcome, services: Services) -> str:
    """Keeps what a step has made for the next run. Returns the fingerprint that the next run is to meet.

    A source that changed as it was read is not remembered: nobody can say which state of it was read.
    """
    after = await fingerprint_of(work, services)
    if after is None or (after != before and work.step.kind not in SINKS):
        return before
    memory = StepMemory(fingerprint=after, outcome=outcome, run_id=run_id(work.run_id))
    record = StoredRecord(
        kind=MEMORY,
        id=_id(work),
        tenant=work.tenant,
        data=msgspec.json.encode(memory).decode(),
        created_at=services.clock.now(),
        blobs=tuple(dict.fromkeys(segment.blob_id for segment in segments_of(outcome.output))),
    )
    for _ in range(_TRIES):
        known = await services.records.get(work.tenant, MEMORY, record.id)
        with contextlib.suppress(VersionConflict):
            await services.records.put(msgspec.structs.replace(record, version=known.version if known else 0))
            break
    return after


def _scope_used(work: StepWork) -> dict[str, Any]:
    """Of the run and its parameters, what the step's options may name: more than they do is safe, less is not."""
    text = msgspec.json.encode(work.step.options).decode()
    used: dict[str, Any] = {"params": work.scope.get("params")} if "params" in text else {}
    run = work.scope.get("run", {})
    return used | {f"run.{name}": run[name] for name in _RUN_NAME.findall(text) if name in run}


def _id(work: StepWork) -> str:
    return f"{work.pipeline}/{work.step.name}"
