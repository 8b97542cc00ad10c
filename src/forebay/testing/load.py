"""Load for chaos: a client that submits single jobs, bulks, batches and cancels over HTTP, and repeats what was not
acknowledged under the same key, as clients do. It remembers all that was accepted.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec

from forebay.domain.batch import BATCH
from forebay.domain.job import POISON_DEATHS, POISON_DEATHS_OF_A_GROUP, ErrorCode, Job, Status
from forebay.testing.history import History

AWAY = "store_unavailable"  # the code of a line that may be sent again
PAUSE_SECONDS = 0.05  # between submissions
RETRY_SECONDS = 0.05
LARGEST_BURST = 12
CANCELLED_SHARE = 0.05
LARGE_SHARE = 0.02  # of bodies that are kept as blobs
LARGE_CHARACTERS = 70_000
POISONED_CALLS = 2 + POISON_DEATHS  # unknown ends of a job that became poison: two lost leases, and two alone


class Load:
    """One client. ``accepted``: ids by name; the name stands in the question, and so in the answer."""

    def __init__(self, session: aiohttp.ClientSession, server: str, batch_lines: int, chance: random.Random) -> None:
        self.accepted: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.is_over = False
        self._session = session
        self._server = server
        self._batch_lines = batch_lines
        self._chance = chance

    async def submit(self) -> None:
        """Submits in bursts until ``is_over``, so that a kill finds calls in flight and jobs waiting."""
        number = 0
        while not self.is_over:
            names = [f"job {number + place:08d}." for place in range(self._chance.randint(1, LARGEST_BURST))]
            number += len(names)
            orders = [self._order(name) for name in names]
            if len(orders) == 1:
                views = [await self._post("/v1/jobs", json=orders[0])]
            else:
                views = await self._bulk(orders)
            self.accepted.update(zip(names, [view["id"] for view in views], strict=True))
            if self._chance.random() < CANCELLED_SHARE:
                job_id = views[0]["id"]
                await self._post(f"/v1/jobs/{job_id}/cancel")
                self.cancelled.add(job_id)
            await asyncio.sleep(PAUSE_SECONDS)

    async def batch(self) -> None:
        """Uploads a file and makes a batch of it, once."""
        lines = b"\n".join(map(_line, range(self._batch_lines)))

        def form() -> aiohttp.FormData:
            data = aiohttp.FormData()
            data.add_field("purpose", "batch")
            data.add_field("file", lines, filename="lines.jsonl")
            return data

        file = await self._post("/v1/files", data=form, headers={"idempotency-key": "the file"})
        body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        await self._post("/v1/batches", json=body, headers={"idempotency-key": "the batch"})

    async def _bulk(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All of them, however often it takes: a store may go away between two lines."""
        lines = b"\n".join(map(msgspec.json.encode, orders))
        while True:
            views: list[dict[str, Any]] = await self._post("/v1/jobs/bulk", data=lambda: lines)
            faults = {view["error"]["code"] for view in views if "error" in view}
            if not faults:
                return views
            if faults != {AWAY}:
                raise RuntimeError(f"a bulk of good lines was answered with {faults}")
            await asyncio.sleep(RETRY_SECONDS)

    def mistakes(self, history: History) -> list[str]:
        """Jobs that lack their answer or have another's, and jobs that nobody submitted."""
        found: list[str] = []
        if len(set(self.accepted.values())) != len(self.accepted):
            found.append("two keys share a job")
        for name, job_id in self.accepted.items():
            job = history.jobs.get(job_id)
            if job is not None:
                found += self._of_answer(name, job)
        roots = [job for job in history.jobs.values() if not job.parent_id]
        batches = [job for job in roots if job.kind == BATCH]
        if len(roots) - len(batches) != len(self.accepted):
            found.append(f"{len(self.accepted)} jobs were accepted, and {len(roots) - len(batches)} are there")
        for batch in batches:
            found += _of_lines(batch, history)
        made = [batch for batch in batches if not batch.spec.metadata]
        own = [sum(msgspec.structs.astuple(batch.taken)) for batch in made]
        if own != [self._batch_lines] and not (len(made) == 1 and is_poisoned(made[0])):
            found.append(f"a batch of {self._batch_lines} lines was accepted, and there are batches of {own}")
        return found

    def _of_answer(self, name: str, job: Job) -> list[str]:
        if job.status is Status.CANCELLED and job.id in self.cancelled:
            return []
        if job.status is not Status.SUCCEEDED:
            return [] if is_poisoned(job) else [f"{job.id} is {job.status}: {job.error}"]
        if job.result is not None and job.result.body.text is not None and name not in job.result.body.text:
            return [f"{job.id} has another's answer"]
        return []

    def _order(self, name: str) -> dict[str, Any]:
        is_large = self._chance.random() < LARGE_SHARE
        content = name + "x" * LARGE_CHARACTERS if is_large else name
        return {"body": {"model": "mock", "messages": [{"role": "user", "content": content}]}, "idempotency_key": name}

    async def _post(self, path: str, **options: Any) -> Any:
        form: Callable[[], Any] | None = options.pop("data", None)
        while True:
            try:
                data = form() if form else None
                async with self._session.post(self._server + path, data=data, **options) as reply:
                    body = await reply.read()
                    if reply.status < 300:
                        return _decoded(body)
                    if reply.status != 503:
                        raise RuntimeError(f"{path}: {reply.status} {body[:500]!r}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(RETRY_SECONDS)


def is_poisoned(job: Job) -> bool:
    """Whether it failed as poison, and it shows why: chaos hit it again and again, twice while it ran alone. Calls show
    it in the ledger; a group, whose runs make none, counted the leases that were lost in a row.
    """
    if job.error is None or job.error.code != ErrorCode.POISON:
        return False
    if job.is_group:
        return job.lone_rescues >= POISON_DEATHS_OF_A_GROUP
    unknown = sum(attempt.outcome.value in {"unknown", "succeeded"} for attempt in job.attempts)
    return unknown >= POISONED_CALLS


def _of_lines(batch: Job, history: History) -> list[str]:
    """Each line of an ended batch stands once: in its output, or as a dead row."""
    if is_poisoned(batch):  # its last run never came: its lines were cancelled, and what it had is there
        return []
    ended = f"{batch.id} is {batch.status}: {batch.error}"
    dead = [job for job in history.jobs.values() if job.parent_id == batch.id]
    wrong = [job for job in dead if not is_poisoned(job) and batch.ending is None]
    there = len(history.outputs[batch.id]) + len(dead)
    taken = sum(msgspec.structs.astuple(batch.taken))
    lost = [] if there == taken else [f"{batch.id} took over {taken} lines and shows {there}"]
    if batch.status is Status.FAILED:
        lost.append(ended)
    return [*(f"line {job.id} of {batch.id} is {job.status}: {job.error}" for job in wrong), *lost]


def _line(number: int) -> bytes:
    return msgspec.json.encode(
        {
            "custom_id": f"line-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "mock", "messages": [{"role": "user", "content": f"line {number}"}]},
        }
    )


def _decoded(body: bytes) -> Any:
    """A JSON object, or a list of those of an NDJSON body."""
    views = [msgspec.json.decode(line) for line in body.splitlines() if line]
    return views if len(views) > 1 else views[0]
