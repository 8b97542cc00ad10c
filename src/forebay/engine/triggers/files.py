"""Files: each that appears where a trigger looks begins one run, on however many servers.

A file is known by its path, size and version. That it had its run stands in a record, for a month after it was last
seen in its place. A file of this machine is whole when it has been the same for a while, whoever writes or moves it.
"""

import asyncio
import hashlib
from typing import Any

import msgspec
import structlog

from forebay.domain.arrival import Arrival
from forebay.domain.errors import ConfigurationError, RequestError, TargetUnavailable, VersionConflict
from forebay.domain.pipeline import Overlap, Pipeline, Trigger
from forebay.domain.schedule import SEEN_FILE, Firing
from forebay.domain.stored import StoredRecord
from forebay.engine.services import Services
from forebay.engine.triggers.firing import fire, live_runs
from forebay.engine.triggers.states import LONGEST_ERROR, note_error, state_of
from forebay.policy.templates import compile_body
from forebay.ports.arrivals import Arrivals

log = structlog.get_logger(__name__)
WHOLE_SECONDS = 2.0  # so long a file of this machine has been the same
LOOK_SECONDS = 10.0  # between two looks at a folder that tells of its changes
LIST_SECONDS = 30.0  # … at a prefix of an object store
REST_SHARE = 10.0  # of what a look took, until a hint is heeded: a folder may be large, and change all the time
KEPT_SECONDS = 30 * 86_400.0
RENEWED_AT_ONCE = 200
AT_ONCE = 32  # runs that are begun side by side: they share commits
MOST_WAITING = 10_000  # found again at a later look
PAGE = 1000
FILE = "file"  # the parameter that a trigger gives by itself, where the pipeline has it


class FileTrigger:
    """One trigger, as one process watches it. ``step`` looks where it is time, and begins runs."""

    def __init__(
        self, pipeline: Pipeline, trigger: Trigger, arrivals: Arrivals, services: Services, tenant: str
    ) -> None:
        self._pipeline = pipeline
        self._trigger = trigger
        self._arrivals = arrivals
        self._services = services
        self._tenant = tenant
        self._is_local = not (trigger.files or "").startswith(("s3://", "gs://"))
        self._seen: dict[str, float] | None = None  # had their run, and until when that is kept
        self._growing: dict[str, float] = {}  # not whole yet, and since when they are as they are
        self._waiting: dict[str, Arrival] = {}
        self._look_at = 0.0
        self._is_hinted = True
        self._rest_until = 0.0
        self._refused: dict[str, str] = {}  # of these no run can be made; a start tries again, with its configuration
        self._error: str | None = None
        self._is_news = False  # it is to be noted

    def hint(self) -> None:
        """Something may have changed there."""
        self._is_hinted = True

    async def step(self, now: float) -> int:
        """Returns how many runs were begun, or found begun. Raises: StoreUnavailable."""
        if now < self._look_at - LIST_SECONDS:  # the clock was set back
            self._look_at = self._rest_until = now
        is_time = now >= self._look_at or (self._is_hinted and now >= self._rest_until)
        if not (is_time or self._waiting):
            return 0
        _, state = await state_of(self._trigger, self._services, now, tenant=self._tenant)
        if state.is_paused:
            return 0
        if self._seen is None:
            self._error = state.last_error  # as the process before told it
        if is_time:
            await self._look(now)
        begun = await self._begin(now) if self._waiting else 0
        if self._is_news:
            self._is_news = False
            await note_error(self._trigger, self._error, self._services, tenant=self._tenant)
        return begun

    async def _look(self, now: float) -> None:
        self._is_hinted = False
        seen, began_at = await self._known(), self._services.clock.now()
        there: set[str] = set()
        old: list[str] = []
        problem: str | None = None
        try:
            async for page in self._arrivals.look(self._trigger.files or "", self._pipeline.folder):
                for arrival in page:
                    file_id = _id(self._trigger, arrival)
                    there.add(file_id)
                    if file_id in self._refused:
                        continue
                    if not _is_text(arrival.path):
                        self._refused[file_id] = f"{arrival.path!a}: its name is not UTF-8"
                    elif file_id not in seen:
                        self._note(file_id, arrival, now)
                    elif seen[file_id] - now < KEPT_SECONDS / 2:
                        old.append(file_id)
        except (RequestError, TargetUnavailable, ConfigurationError) as error:
            problem = str(error)
        else:
            self._growing = {file_id: since for file_id, since in self._growing.items() if file_id in there}
            self._waiting = {file_id: arrival for file_id, arrival in self._waiting.items() if file_id in there}
            self._refused = {file_id: reason for file_id, reason in self._refused.items() if file_id in there}
        self._look_at = now + (LOOK_SECONDS if self._is_local else LIST_SECONDS)
        self._rest_until = now + REST_SHARE * max(0.0, self._services.clock.now() - began_at)
        if self._growing:
            self._look_at = max(self._rest_until, min(self._look_at, now + WHOLE_SECONDS))
        self._tell(problem or next(iter(self._refused.values()), None))
        await self._renew(old[:RENEWED_AT_ONCE], now)

    def _note(self, file_id: str, arrival: Arrival, now: float) -> None:
        if file_id in self._waiting or len(self._waiting) >= MOST_WAITING:
            return
        since = min(self._growing.setdefault(file_id, now), now)
        self._growing[file_id] = since
        if arrival.is_whole or now - since >= WHOLE_SECONDS:
            del self._growing[file_id]
            self._waiting[file_id] = arrival

    async def _begin(self, now: float) -> int:
        """Begins what may begin: one run where they take turns, and none beside one that is live."""
        if self._pipeline.overlap is Overlap.ALLOW:
            begun = 0
            while self._waiting:
                chosen = list(self._waiting)[:AT_ONCE]
                begun += sum(await asyncio.gather(*[self._begin_one(file_id, now) for file_id in chosen]))
            return begun
        while self._waiting:
            if self._pipeline.overlap is not Overlap.REPLACE and await live_runs(
                self._pipeline.name, self._services, self._tenant
            ):
                return 0
            if await self._begin_one(next(iter(self._waiting)), now):
                return 1
        return 0

    async def _begin_one(self, file_id: str, now: float) -> bool:
        arrival, records = self._waiting[file_id], self._services.records
        known = await self._known()
        record = await records.get(self._tenant, SEEN_FILE, file_id)
        if record is not None:
            self._waiting.pop(file_id, None)
            known[file_id] = record.expires_at or now + KEPT_SECONDS
            return False
        try:
            digest = await self._arrivals.digest(arrival)
        except (RequestError, TargetUnavailable) as error:
            self._tell(str(error))
            digest = None
        if digest is None:  # it is another one now, or gone: the next look tells
            self._waiting.pop(file_id, None)
            self._is_hinted = True
            return False
        if not await self._fire(arrival, digest, file_id, now):
            del self._waiting[file_id]
            return False
        expires_at = now + KEPT_SECONDS
        seen = StoredRecord(
            kind=SEEN_FILE, id=file_id, tenant=self._tenant, created_at=now, expires_at=expires_at, data=_data(arrival)
        )
        try:
            await records.put(seen)
        except VersionConflict:
            log.debug("file_seen_twice", trigger=self._trigger.name)  # another server noted it
        known[file_id] = expires_at
        self._waiting.pop(file_id, None)
        return True

    async def _fire(self, arrival: Arrival, digest: str, file_id: str, now: float) -> bool:
        detail = {
            "path": arrival.path,
            "name": arrival.path.rpartition("/")[2],
            "bytes": arrival.bytes,
            "digest": digest,
        }
        try:
            firing = Firing(
                trigger=self._trigger,
                key=f"trigger:file/{file_id}",
                fire_time=now,
                must_wait=True,
                detail=detail,
                params=self._params(detail),
            )
            job_id = await fire(self._pipeline, firing, self._services, tenant=self._tenant)
        except RequestError as error:
            log.error("trigger_failed", trigger=self._trigger.name, reason=error.message)  # noqa: TRY400
            self._refused[file_id] = f"{arrival.path}: {error.message}"
            self._tell(self._refused[file_id])
            return False
        log.info("file_fired", trigger=self._trigger.name, bytes=arrival.bytes, job_id=job_id)
        return True

    def _params(self, detail: dict[str, Any]) -> dict[str, Any]:
        """The trigger's parameters; a template in them sees ``file``. One named ``file`` is its path."""
        given = self._trigger.params
        rendered: dict[str, Any] = compile_body(given).render({"file": detail}) if given else {}
        if FILE in self._pipeline.params and FILE not in given:
            rendered = {**rendered, FILE: detail["path"]}
        return rendered

    def _tell(self, problem: str | None) -> None:
        """Notes what keeps files from having their runs, once, and that it is over."""
        told = problem[:LONGEST_ERROR] if problem else None
        if told == self._error:
            return
        self._error, self._is_news = told, True
        if told:
            log.warning("files_not_found", trigger=self._trigger.name, reason=told)

    async def _known(self) -> dict[str, float]:
        """The files that had their run."""
        if self._seen is None:
            found: dict[str, float] = {}
            after = prefix = f"{self._trigger.name}/"
            while True:
                page = await self._services.records.list(self._tenant, SEEN_FILE, after=after, limit=PAGE)
                found |= {one.id: one.expires_at or 0.0 for one in page if one.id.startswith(prefix)}
                if len(page) < PAGE or not page[-1].id.startswith(prefix):
                    break
                after = page[-1].id
            self._seen = found
        return self._seen

    async def _renew(self, file_ids: list[str], now: float) -> None:
        """Keeps for longer what is known of files that still lie there."""
        known, records = await self._known(), self._services.records
        for file_id in file_ids:
            record = await records.get(self._tenant, SEEN_FILE, file_id)
            if record is None:
                del known[file_id]
                continue
            try:
                await records.put(msgspec.structs.replace(record, expires_at=now + KEPT_SECONDS))
            except VersionConflict:
                log.debug("file_renewed_twice", trigger=self._trigger.name)
            known[file_id] = now + KEPT_SECONDS


def _id(trigger: Trigger, arrival: Arrival) -> str:
    said = f"{arrival.path}\0{arrival.bytes}\0{arrival.version}"
    return f"{trigger.name}/{hashlib.sha256(said.encode(errors='surrogateescape')).hexdigest()[:40]}"


def _is_text(path: str) -> bool:
    """Whether a run can be told of it: names of files may be any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _data(arrival: Arrival) -> str:
    return msgspec.json.encode({"path": arrival.path, "bytes": arrival.bytes}).decode()
