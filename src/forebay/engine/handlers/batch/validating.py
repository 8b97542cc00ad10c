"""The first phase of a batch: its input is read once and judged, in slices, beside the event loop."""

import asyncio
from collections.abc import Callable

from forebay.domain.batch import BatchArgs, BatchError
from forebay.domain.errors import NotFound, RequestError
from forebay.domain.record import Record
from forebay.engine.handlers.batch.reading import LONGEST_LINE_BYTES, LineTooLong, pieces_of
from forebay.engine.services import Services
from forebay.policy.batch_input import DuplicateCheck, InputCheck, merged


class Verdict(Record, frozen=True, kw_only=True):
    """What the reading of an input found. With ``errors`` the batch fails as a whole."""

    total: int = 0
    input_bytes: int = 0
    errors: tuple[BatchError, ...] = ()


async def validate(args: BatchArgs, services: Services) -> Verdict:
    """Reads the input and says all that is wrong with it. Raises: nothing but what the stores do."""
    if args.input_blob_id is None:
        return _whole("invalid_request", f"There is no file {args.input_file_id!r} with purpose 'batch'", "file_id")
    try:
        size = await services.blobs.size(args.input_blob_id)
        most = services.bounds.max_batch_bytes
        if size > most:
            return _whole("file_too_large", f"The file has {size} bytes; at most {most} (setting `max_batch_bytes`)")
        return await _read(args.input_blob_id, args, size, services)
    except NotFound:
        return _whole("invalid_request", f"The content of file {args.input_file_id!r} is gone", "file_id")


async def _read(blob_id: str, args: BatchArgs, size: int, services: Services) -> Verdict:
    check = InputCheck(args.endpoint, _judge(args, services), services.bounds.max_batch_lines)
    too_long: list[BatchError] = []
    try:
        async for piece in pieces_of(services.blobs, blob_id):
            await asyncio.to_thread(check.feed, piece)
            if check.is_over:
                break
    except LineTooLong:
        message = f"This line has more than {LONGEST_LINE_BYTES} bytes"
        too_long.append(BatchError(code="line_too_long", message=message, line=check.lines + 1))
        check.count += 1  # the file is not empty
    suspects = await asyncio.to_thread(check.finish)
    duplicates = await _duplicates(blob_id, suspects, services) if suspects and not too_long else []
    errors = merged([*check.errors, *too_long], duplicates)
    return Verdict(total=check.count, input_bytes=size, errors=errors)


async def _duplicates(blob_id: str, suspects: frozenset[int], services: Services) -> list[BatchError]:
    check = DuplicateCheck(suspects)
    async for piece in pieces_of(services.blobs, blob_id):
        await asyncio.to_thread(check.feed, piece)
        if check.is_over:
            break
    return check.errors


def _judge(args: BatchArgs, services: Services) -> Callable[[str | None], BatchError | None]:
    """Whether a line's model can be asked, remembered for each model."""
    known: dict[str | None, BatchError | None] = {}

    def judge(model: str | None) -> BatchError | None:
        if args.is_each_alone:
            return None
        asked = args.model or model
        if asked not in known:
            known[asked] = _refusal(args, asked, services)
        return known[asked]

    return judge


def _refusal(args: BatchArgs, model: str | None, services: Services) -> BatchError | None:
    try:
        services.resolver.resolve(target=args.target, model=model, endpoint=args.endpoint)
    except RequestError as refusal:
        param = refusal.param if refusal.param == "endpoint" else "body.model"
        return BatchError(code=refusal.code, message=refusal.message, param=param)
    return None


def _whole(code: str, message: str, param: str | None = None) -> Verdict:
    return Verdict(errors=(BatchError(code=code, message=message, param=param),))
