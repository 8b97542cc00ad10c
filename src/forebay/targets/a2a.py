"""Target of type ``a2a``: an agent that speaks A2A 1.0 over HTTP+JSON.

A job is one message; its result is what came of it: the agent's answer, or its task when that has ended. While the
agent works on the task the job waits, and is asked for now and then; an agent that pushes makes the next time now.
"""

import time

import msgspec

from forebay.domain.errors import RemoteFailed, TargetFailed, TargetRejected, TargetTimeout
from forebay.domain.hops import HOPS_HEADER
from forebay.domain.inference import Call, InferenceResult, Pending
from forebay.domain.record import Record
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable
from forebay.policy.usage import NOTHING_METERED
from forebay.ports import StreamSink
from forebay.targets.a2a_card import Agent, AgentPlace
from forebay.targets.a2a_files import with_files
from forebay.targets.a2a_message import send_request
from forebay.targets.a2a_push import Pushes
from forebay.targets.a2a_wire import (
    CANCEL,
    HEADERS,
    INTERRUPTED,
    SEND,
    SEND_ANSWER,
    TASK,
    UNDER_WAY,
    State,
    Task,
    continues_task,
    is_told,
    task_path,
)
from forebay.targets.endpoint import call_headers, metered_result, preset_headers
from forebay.targets.failures import by_status, check_status
from forebay.targets.http import HttpClient, Response

WITHDRAW_SECONDS = 30.0
FIRST_POLL_SECONDS = 0.5
POLL_SHARE = 0.2  # of the time that a task has taken so far: it is known a fifth late at most
SLOWEST_POLL_SECONDS = 15.0
SLOWEST_PUSHED_SECONDS = 120.0  # where the agent tells of itself, and may fail to
_MISSING = frozenset({404, 405, 410})
_ENDED = _MISSING | {400, 409}  # TaskNotCancelableError is 400; it was 409 in drafts


class TaskState(Record, frozen=True, kw_only=True):
    """By which a task is found again."""

    task: str
    since: float
    is_pushed: bool = False


_STATE = msgspec.json.Decoder(TaskState)


class A2aTarget:
    """Sends each body as a message. What the agent answers decides: see ``_outcome``."""

    def __init__(self, spec: TargetSpec, http: HttpClient, table: PriceTable, pushes: Pushes | None = None) -> None:
        """Raises: ConfigurationError: ``url`` is missing or no URL."""
        self._spec = spec
        self._http = http
        self._table = table
        self._pushes = pushes
        key = {"authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        self._headers = preset_headers(spec, {**HEADERS, **key})
        self._place = AgentPlace(spec, http, self._headers)

    @property
    def name(self) -> str:
        return self._spec.name

    def serves(self, endpoint: str) -> bool:  # noqa: ARG002 - the port's signature
        return True

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:  # noqa: ARG002 - it has none
        if call.is_stream:
            raise TargetRejected(
                f"target {self.name!r} is an agent, whose answers are not streamed: leave `stream` off"
            )
        if call.pending is not None:
            return await self._asked(_STATE.decode(call.pending), call)
        agent = await self._place.find()
        push = self._pushes.config_of(call.job_id) if self._pushes and agent.can_push else None
        body = await send_request(call, push)
        url = agent.base_url + SEND
        try:
            response = await self._http.post(url, self._call_headers(call), body, call.timeout_seconds)
        except (TargetFailed, TargetTimeout) as exc:
            raise by_status(exc) from exc
        if response.status in _MISSING:
            self._place.forget()
        check_status(response, self.name, self._spec.api_key)
        waits = INTERRUPTED if continues_task(body) else frozenset()
        return self._sent(response, call, TaskState(task="", since=time.time(), is_pushed=push is not None), waits)

    async def withdraw(self, state: str) -> None:
        """Asks the agent to cancel the task; one that has ended, or that it does not know, it leaves as it is."""
        agent = await self._place.find()
        url = agent.base_url + task_path(_STATE.decode(state).task, CANCEL)
        response = await self._http.post(url, self._headers, b"{}", WITHDRAW_SECONDS)
        if response.status not in _ENDED:
            check_status(response, self.name, self._spec.api_key)

    async def check(self) -> str:
        """Reads the agent's card, which costs nothing."""
        self._place.forget()
        agent = await self._place.find()
        return f"{self.name}: {_described(agent)}"

    async def close(self) -> None:
        """Nothing: connections are the HTTP client's, shared by all targets."""

    def _call_headers(self, call: Call) -> dict[str, str]:
        headers = call_headers(self._headers, call)
        headers["forebay-job-id"] = call.job_id
        headers["forebay-attempt"] = str(call.attempt)
        headers["idempotency-key"] = call.idempotency_key or call.job_id
        if call.hops:
            headers[HOPS_HEADER] = str(call.hops)
        return headers

    def _sent(self, response: Response, call: Call, state: TaskState, waits: frozenset[State]) -> InferenceResult:
        """What the agent answered to the message. ``waits``: states in which a task may still be for a moment."""
        try:
            answer = SEND_ANSWER.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise self._unreadable(response, str(exc)) from exc
        body, message = bytes(answer.task), bytes(answer.message)
        if bool(body) == bool(message):
            raise self._unreadable(response, "neither a task nor a message")
        if message:
            return self._result(response, message, call)
        task = self._task(response, body)
        if task.status.state in UNDER_WAY | waits:
            return self._pending(response, msgspec.structs.replace(state, task=task.id))
        return self._outcome(response, task, body, call)

    async def _asked(self, state: TaskState, call: Call) -> InferenceResult:
        """How a task stands. Raises: RemoteFailed: the agent does not know it any more, or it failed."""
        try:
            agent = await self._place.find()
        except TargetRejected as exc:  # a card that is wrong for a while costs no work that is under way
            raise TargetFailed(exc.message, status_code=exc.status_code) from exc
        response = await self._http.get(agent.base_url + task_path(state.task), self._headers, call.timeout_seconds)
        if response.status in _MISSING and is_told(response.body):
            message = f"target {self.name!r}: the agent does not know the task {state.task[:100]!r} any more"
            raise RemoteFailed(message, status_code=response.status, body=response.body)
        if response.status in _MISSING:  # no agent's words: what stands before it may have lost it for a while
            self._place.forget()
            message = f"target {self.name!r} answered {response.status} to the question for a task"
            raise TargetFailed(message, status_code=response.status)
        check_status(response, self.name, self._spec.api_key)
        task = self._task(response, response.body)
        if task.status.state in UNDER_WAY:
            return self._pending(response, state)
        return self._outcome(response, task, response.body, call)

    def _pending(self, response: Response, state: TaskState) -> InferenceResult:
        slowest = SLOWEST_PUSHED_SECONDS if state.is_pushed else SLOWEST_POLL_SECONDS
        pause = min(max(FIRST_POLL_SECONDS, (time.time() - state.since) * POLL_SHARE), slowest)
        pending = Pending(state=msgspec.json.encode(state).decode(), after_seconds=pause)
        return InferenceResult(status_code=response.status, body=b"{}", headers=response.headers, pending=pending)

    def _outcome(self, response: Response, task: Task, body: bytes, call: Call) -> InferenceResult:
        """What the end of a task means. Raises: RemoteFailed: it failed, and a new one may not. TargetRejected: the
        agent refuses it, cancelled it, or asks for something that a job can't give.
        """
        match task.status.state:
            case State.COMPLETED:
                return self._result(response, body, call)
            case State.FAILED:
                raise RemoteFailed(self._words("failed", task), body=body)
            case State.REJECTED:
                raise TargetRejected(self._words("refuses the task", task), status_code=response.status, body=body)
            case State.CANCELED:
                raise TargetRejected(self._words("cancelled the task", task), status_code=response.status, body=body)
            case State.INPUT_REQUIRED:
                words = self._words("asks for more before it goes on", task)
                raise TargetRejected(words, status_code=response.status, body=body)
            case State.AUTH_REQUIRED:
                words = self._words("asks for an authorisation before it goes on", task)
                raise TargetRejected(words, status_code=response.status, body=body)
        raise self._unreadable(response, f"a task in the state {task.status.state[:40]!r}")

    def _task(self, response: Response, body: bytes) -> Task:
        try:
            task = TASK.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise self._unreadable(response, str(exc)) from exc
        if not task.id or task.id in {".", ".."}:  # it would be another path
            raise self._unreadable(response, "a task without an id")
        return task

    def _words(self, verb: str, task: Task) -> str:
        said = task.said
        return f"target {self.name!r}: the agent {verb}{f': {said}' if said else ''} (task {task.id[:100]})"

    def _unreadable(self, response: Response, why: str) -> TargetFailed:
        message = f"target {self.name!r} answered {response.status} with what is no answer of A2A: {why}"
        return TargetFailed(message, status_code=response.status, body=response.body, headers=response.headers)

    def _result(self, response: Response, body: bytes, call: Call) -> InferenceResult:
        try:
            body, files = with_files(body)
        except ValueError as exc:
            raise self._unreadable(response, str(exc)) from exc
        answer = Response(status=response.status, headers=response.headers, body=body)
        result = metered_result(answer, NOTHING_METERED, call, self._spec, self._table)
        return msgspec.structs.replace(result, files=files) if files else result


def _described(agent: Agent) -> str:
    if not agent.name:
        return f"reachable; it shows no card, so {agent.base_url} is taken for its interface"
    shown = ", ".join(agent.skills[:3]) + (", …" if len(agent.skills) > 3 else "")
    return f"{agent.name}" + (f" ({shown})" if shown else "") + (", pushes" if agent.can_push else ", is polled")
