"""Targets and routes as they are declared: named places that work can be sent to."""

from enum import StrEnum

from forebay.domain.data_source import SearchSource, SqlSource
from forebay.domain.function import RunIn
from forebay.domain.pipeline import Window
from forebay.domain.record import Record


class TargetType(StrEnum):
    """Which wire a target speaks."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    HTTP = "http"
    PYTHON = "python"
    LOCAL = "local"  # a small local model, started and guarded by Forebay
    A2A = "a2a"  # an agent
    MCP = "mcp"  # a tool
    SQL = "sql"  # a database that is asked
    SEARCH = "search"  # a vector index
    FOREBAY = "forebay"  # another Forebay's server


class ResponsesMode(StrEnum):
    """How a target serves ``/v1/responses``."""

    AUTO = "auto"  # as its server does: learned from what it answers
    NATIVE = "native"  # passed on
    CHAT = "chat"  # made from chat completions


class Limits(Record, frozen=True, kw_only=True):
    """What a target is known to allow; None is unknown and learned."""

    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Prices(Record, frozen=True, kw_only=True):
    """USD per million tokens, where the library's are not wanted."""

    input: float
    output: float
    cached_input: float | None = None


class TargetSpec(Record, frozen=True, kw_only=True):
    """A declared target. ``models``: exact names and patterns (``gpt-*``), in the order of preference."""

    name: str
    type: TargetType
    base_url: str | None = None  # openai, anthropic, forebay; a2a: its interface, where the card is not to say
    url: str | None = None  # http; a2a: the agent's card, or what it stands under; mcp: the server
    command: str | None = None  # mcp: the server, where it is a child of ours
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    tool: str | None = None  # mcp: the one that is called; None: the body names it
    api_key: str | None = None
    function: str | None = None  # python: `module:name`
    model: str | None = None  # local
    endpoints: tuple[str, ...] = ()  # those it serves, its default first; none: those of its type
    models: tuple[str, ...] = ()
    modality: str = "text"
    placement: str | None = None  # edge | onprem | cloud
    limits: Limits = Limits()
    prices: Prices | None = None
    headers: dict[str, str] = {}
    timeout_seconds: float | None = None  # for calls whose job names none
    windows: tuple[Window, ...] = ()  # when it is called, but for what can't wait; none: always
    responses: ResponsesMode = ResponsesMode.AUTO  # openai
    run_in: RunIn | None = None  # python
    sql: SqlSource | None = None
    search: SearchSource | None = None

    def __repr__(self) -> str:
        """Without the key, the headers and a child's arguments and environment, which are secrets."""
        return f"TargetSpec(name={self.name!r}, type={self.type.value!r}, models={self.models!r})"

    @property
    def speaks_chat_only(self) -> bool:
        """Whether it is known that Responses must be made from chat completions."""
        return self.type is TargetType.LOCAL or self.responses is ResponsesMode.CHAT

    @property
    def exact_models(self) -> tuple[str, ...]:
        return tuple(name for name in self.models if "*" not in name)


class RouteEntry(Record, frozen=True, kw_only=True):
    """``target`` or ``target/model``: the model that ``body.model`` is rewritten to (None: the target's first)."""

    target: str
    model: str | None = None


class Route(Record, frozen=True, kw_only=True):
    """A model alias: targets in order of preference, with failover."""

    name: str
    entries: tuple[RouteEntry, ...]
