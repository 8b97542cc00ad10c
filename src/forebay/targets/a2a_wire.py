"""A2A, protocol version 1.0, binding HTTP+JSON: paths, names, and what is read of an agent's answers.

An answer is kept as the agent wrote it; only what decides about the job is read here.
Source: https://a2a-protocol.org/latest/specification/ (sections 3, 4 and 11) and a2a-sdk 1.3.
"""

from enum import StrEnum
from urllib.parse import quote

import msgspec

VERSION = "1.0"
VERSION_HEADER = "a2a-version"
CARD_PATH = "/.well-known/agent-card.json"
BINDING = "HTTP+JSON"
SEND = "/message:send"
CANCEL = ":cancel"
TOKEN_HEADER = "x-a2a-notification-token"  # noqa: S105 - the name of a header
HEADERS = {
    "content-type": "application/json",  # every server takes it, also those that know no `application/a2a+json`
    "accept": "application/a2a+json, application/json",
    "accept-encoding": "identity",
    VERSION_HEADER: VERSION,
}
LONGEST_SAID = 500  # characters of what an agent says in an error's message; the whole stands in the result


class State(StrEnum):
    """Where a task stands."""

    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    REJECTED = "TASK_STATE_REJECTED"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"


UNDER_WAY = frozenset({State.SUBMITTED, State.WORKING})
INTERRUPTED = frozenset({State.INPUT_REQUIRED, State.AUTH_REQUIRED})


class Part(msgspec.Struct, gc=False):
    """A piece of a message, as far as it is words."""

    text: str = ""


class Said(msgspec.Struct):
    """A message of the agent's."""

    parts: list[Part] = []

    @property
    def text(self) -> str:
        """Its words, in one line, cut."""
        whole = " ".join(" ".join(part.text for part in self.parts).split())
        return whole if len(whole) <= LONGEST_SAID else whole[: LONGEST_SAID - 1] + "…"


class TaskStatus(msgspec.Struct):
    state: str
    message: Said | None = None


class Task(msgspec.Struct):
    """What is read of a task."""

    id: str
    status: TaskStatus

    @property
    def said(self) -> str:
        return self.status.message.text if self.status.message else ""


class SendAnswer(msgspec.Struct):
    """SendMessageResponse: one of both, as the agent wrote it."""

    task: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()


class Interface(msgspec.Struct, rename="camel"):
    """Where an agent can be spoken to, and in which binding."""

    url: str
    protocol_binding: str = ""
    protocol_version: str = ""
    tenant: str = ""


class Capabilities(msgspec.Struct, rename="camel"):
    push_notifications: bool = False


class Skill(msgspec.Struct):
    name: str = ""


class AgentCard(msgspec.Struct, rename="camel"):
    """What is read of an agent's card."""

    name: str = ""
    supported_interfaces: list[Interface] = []
    capabilities: Capabilities = msgspec.field(default_factory=Capabilities)
    skills: list[Skill] = []


TASK = msgspec.json.Decoder(Task)
SEND_ANSWER = msgspec.json.Decoder(SendAnswer)
CARD = msgspec.json.Decoder(AgentCard)


class Told(msgspec.Struct):
    """An error as an agent tells it (AIP-193)."""

    error: dict[str, msgspec.Raw]


class Update(msgspec.Struct):
    """TaskStatusUpdateEvent, or a task: what is read of either in a push."""

    status: TaskStatus


class Push(msgspec.Struct, rename="camel"):
    """StreamResponse, as it is pushed: one of its members is there."""

    task: Update | None = None
    status_update: Update | None = None
    artifact_update: dict[str, msgspec.Raw] | None = None


class Continuing(msgspec.Struct, rename="camel"):
    """A message's task, where it belongs to one that is there."""

    task_id: str = ""


class SendRequest(msgspec.Struct):
    """What is read of a request of our own."""

    message: Continuing


_TOLD = msgspec.json.Decoder(Told)
_REQUEST = msgspec.json.Decoder(SendRequest)
_PUSH = msgspec.json.Decoder(Push)


def continues_task(request: bytes) -> bool:
    """Whether a message answers a question of a task: the task may be shown as it was before."""
    return b'"taskId"' in request and bool(_REQUEST.decode(request).message.task_id)


def is_still_under_way(news: bytes) -> bool:
    """Whether a push tells of nothing but work that goes on; what can't be read may tell of anything."""
    try:
        push = _PUSH.decode(news)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    update = push.task or push.status_update
    return push.artifact_update is not None if update is None else update.status.state in UNDER_WAY


def is_told(body: bytes) -> bool:
    """Whether an answer that is no 2xx is an agent's own, and not a proxy's page."""
    try:
        _TOLD.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def task_path(task_id: str, verb: str = "") -> str:
    """The path of a task, whose id is the agent's own choice: it stays one step of a path."""
    return f"/tasks/{quote(task_id, safe='')}{verb}"
