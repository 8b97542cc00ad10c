"""What is remembered of a step's answers from run to run: one record for each step of a pipeline."""

from collections.abc import Callable

import msgspec

from forebay.domain.asking import PAID, Begun, PaidMemory, paid_memory
from forebay.domain.errors import VersionConflict
from forebay.domain.pipeline import StepWork
from forebay.domain.stored import StoredRecord
from forebay.engine.services import Services

LIFESPAN_SECONDS = 400 * 86_400.0  # of a step that is run no more: longer than a year's pause
Changing = Callable[[PaidMemory], PaidMemory]


async def read_paid(work: StepWork, services: Services) -> PaidMemory:
    """What is paid, and what was begun."""
    record = await services.records.get(work.tenant, PAID, _id(work))
    return PaidMemory() if record is None else paid_memory(record.data)


async def change_paid(work: StepWork, services: Services, change: Changing) -> PaidMemory:
    """Changes it, against whoever else does. Raises: what ``change`` raises."""
    while True:
        record = await services.records.get(work.tenant, PAID, _id(work))
        known = PaidMemory() if record is None else paid_memory(record.data)
        memory = change(known)
        if memory == known:
            return memory
        changed = StoredRecord(
            kind=PAID,
            id=_id(work),
            tenant=work.tenant,
            version=0 if record is None else record.version,
            data=msgspec.json.encode(memory).decode(),
            created_at=services.clock.now() if record is None else record.created_at,
            expires_at=services.clock.now() + LIFESPAN_SECONDS,
            blobs=tuple(dict.fromkeys((*memory.tables, *(one.input_blob_id for one in memory.begun)))),
        )
        try:
            await services.records.put(changed)
        except VersionConflict:
            continue
        return memory


def with_begun(memory: PaidMemory, begun: Begun) -> PaidMemory:
    return msgspec.structs.replace(memory, begun=(*memory.begun, begun))


def with_answers(memory: PaidMemory, batch_id: str, table: str | None) -> PaidMemory:
    """The batch's answers stand among the paid ones, once."""
    left = tuple(one for one in memory.begun if one.batch_id != batch_id)
    if len(left) == len(memory.begun):  # another run has taken them over
        return memory
    tables = memory.tables if table is None else (*memory.tables, table)
    return msgspec.structs.replace(memory, begun=left, tables=tables)


def with_kept(memory: PaidMemory, read: tuple[str, ...], table: str) -> PaidMemory:
    """One table in place of those that it was made of; if any of these is gone, another run has done it."""
    if not set(read) <= set(memory.tables):
        return memory
    return msgspec.structs.replace(memory, tables=(table, *(one for one in memory.tables if one not in read)))


def _id(work: StepWork) -> str:
    return f"{work.pipeline}/{work.step.name}"
