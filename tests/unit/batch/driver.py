"""Runs batches without a worker: claim, handle, decide, apply, settle; the lines are answered by hand."""

import random
from collections.abc import AsyncIterator, Callable

import msgspec

from forebay.domain.answer import Done, Failed
from forebay.domain.attempt import Outcome, Usage
from forebay.domain.batch import OUTPUT, BatchArgs
from forebay.domain.change import Claimed, Want, Worker
from forebay.domain.content import Content
from forebay.domain.job import ErrorCode, Job, JobError, Result
from forebay.domain.lane import CONTROL, target_queue
from forebay.domain.query import Parts
from forebay.engine.context import Context
from forebay.engine.handlers.batch import BatchOrder, handle_batch, make_batch
from forebay.engine.services import Services
from forebay.policy.lifecycle import decide, next_attempt

TARGET = "mock"
MODEL = "mock-model"
QUEUE = target_queue(TARGET)
CHAT = "/v1/chat/completions"
Reply = Callable[[Job], Done | Failed]


def request(custom_id: str, *, url: str = CHAT, model: str = MODEL, text: str = "hello") -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return msgspec.json.encode({"custom_id": custom_id, "method": "POST", "url": url, "body": body}) + b"\n"


def requests(count: int) -> bytes:
    return b"".join(request(f"line-{number}") for number in range(count))


def good(job: Job) -> Done:
    body = Content(text=msgspec.json.encode({"id": job.spec.metadata["custom_id"]}).decode())
    return Done(result=Result(status_code=200, body=body, request_id="req_up"))


def refused(job: Job) -> Failed:
    result = Result(status_code=400, body=Content(text='{"error": "no"}'))
    return Failed(error=JobError(code=ErrorCode.TARGET_REJECTED, message="no"), result=result)


def unreachable(job: Job) -> Failed:
    return Failed(error=JobError(code=ErrorCode.TARGET_UNAVAILABLE, message="gone"))


class Driver:
    """One worker's work, a step at a time."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.worker = Worker(id="worker_test", queues=(CONTROL, QUEUE))
        self.most_live = 0
        self.handler_runs = 0

    async def submit(self, data: bytes, **order: object) -> str:
        blob = await self.services.blobs.write(_once(data))
        args = BatchArgs(input_file_id="file-in", input_blob_id=blob.id, endpoint=CHAT)
        job = await make_batch(BatchOrder(args=args, lifespan_seconds=86_400.0, **order), self.services)
        await self.services.jobs.add([job])
        await self.services.jobs.renew(self.worker)
        return job.id

    async def claim(self, queue: str, slots: int) -> list[Claimed]:
        lane = CONTROL if queue == CONTROL else TARGET
        return await self.services.jobs.claim(self.worker, [Want(queue=queue, lane=lane, slots=slots)])

    async def step_batch(self, *, times: int = 1) -> bool:
        """One run of the batch's handler; with ``times``, the runs before the last end without a commit."""
        claimed = await self.claim(CONTROL, 1)
        for one in claimed:
            for _ in range(times):
                answer = await handle_batch(one.job, self.context(one))
                self.handler_runs += 1
            change = decide(one, answer, (), now=self.services.clock.now(), chance=random.Random(1))
            await self.services.jobs.apply([change])
            await self.services.jobs.settle([one.job.id])
        return bool(claimed)

    async def answer_lines(self, count: int, reply: Reply = good) -> int:
        """Answers up to so many lines."""
        claimed = await self.claim(QUEUE, count)
        now = self.services.clock.now()
        changes = []
        for one in claimed:
            context = self.context(one)
            await context.begin(next_attempt(one, target=TARGET, model=MODEL, now=now))
            attempt = msgspec.structs.replace(
                context.attempts[one.job.attempt_count + 1],
                outcome=Outcome.SUCCEEDED,
                finished_at=now,
                usage=Usage(input_tokens=3, output_tokens=2),
                cost_usd=0.5,
            )
            changes.append(decide(one, reply(one.job), [attempt], now=now, chance=random.Random(1)))
        await self.services.jobs.apply(changes)
        await self.services.jobs.settle({one.job.parent_id for one in claimed})
        return len(claimed)

    async def finish(self, job_id: str, reply: Reply = good, *, times: int = 1) -> Job:
        """Works until the batch has ended."""
        while not (job := await self.job(job_id)).is_terminal:
            stepped = await self.step_batch(times=times)
            [tally] = await self.services.jobs.tally([job_id])
            self.most_live = max(self.most_live, tally.live)
            answered = await self.answer_lines(1000, reply)
            if not stepped and not answered:
                await self.services.jobs.recover()
                assert await self.step_batch(), "nothing moves"
        return job

    async def job(self, job_id: str) -> Job:
        [job] = await self.services.jobs.get(None, [job_id], Parts(result=True, segments=True))
        assert job is not None
        return job

    async def lines(self, job_id: str, stream: str = OUTPUT) -> list[dict[str, object]]:
        """The lines of a stream as they stand."""
        lines: list[dict[str, object]] = []
        for segment in await self.services.jobs.segments(job_id, stream):
            data = b"".join([piece async for piece in self.services.blobs.read(segment.blob_id)])
            found = [msgspec.json.decode(line) for line in data.splitlines()]
            assert (len(found), len(data)) == (segment.lines, segment.bytes)
            lines += found
        return lines

    def context(self, claimed: Claimed) -> Context:
        async def begin(attempt: object) -> None:
            await self.services.jobs.begin([attempt])  # type: ignore[list-item]

        return Context(claimed, self.services, begin)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data
