"""What the mock model reads of a request: the model, the last text of the user, and what shapes the answer."""

import zlib
from typing import Any

import msgspec

BYTES_PER_TOKEN = 4


class Message(msgspec.Struct, gc=False):
    role: str = "user"
    content: Any = None
    type: str | None = None


class _Format(msgspec.Struct, gc=False):
    """How Responses and Messages ask for a schema."""

    schema: dict[str, Any] | None = None


class _Text(msgspec.Struct, gc=False):
    format: _Format | None = None


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool = False


class Request(msgspec.Struct, gc=False):
    """The members of all endpoints that matter here."""

    model: str = "mock"
    messages: list[Message] | None = None
    input: Any = None
    prompt: Any = None
    n: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    response_format: Any = None
    text: _Text | None = None
    output_config: _Text | None = None
    output_format: _Format | None = None
    encoding_format: str | None = None
    dimensions: int | None = None

    @property
    def last_text(self) -> str:
        """The text of the last message of the user, or of ``input`` or ``prompt``."""
        if self.messages:
            return next((text_of(one.content) for one in reversed(self.messages) if one.role == "user"), "")
        return text_of(self.input if self.input is not None else self.prompt)

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must fit; an empty one for "any object"."""
        held = (self.text.format if self.text else None, self.output_config.format if self.output_config else None)
        for asked in (*held, self.output_format):
            if asked is not None and asked.schema is not None:
                return asked.schema
        asked_format = self.response_format
        if not isinstance(asked_format, dict):
            return None
        if asked_format.get("type") == "json_object":
            return {"type": "object"}
        return (asked_format.get("json_schema") or {}).get("schema")

    @property
    def limit_tokens(self) -> int | None:
        """The bound of the answer's length, if one is named."""
        return self.max_completion_tokens or self.max_output_tokens or self.max_tokens


_REQUEST = msgspec.json.Decoder(Request)


def read_request(body: bytes) -> Request:
    """Raises: msgspec.DecodeError: not JSON, or not a request."""
    return _REQUEST.decode(body)


def text_of(content: Any) -> str:
    """Reads text out of a string, a part with ``text`` or ``content``, or a list of these (joined by spaces)."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        users = [part for part in content if not isinstance(part, dict) or part.get("role", "user") == "user"]
        if any(isinstance(part, dict) and "role" in part for part in content):
            return text_of(users[-1]) if users else ""
        return " ".join(filter(None, map(text_of, content)))
    if isinstance(content, dict):
        return text_of(content.get("text") or content.get("content"))
    return ""


def tokens_of(text: str | bytes) -> int:
    """A plausible number: a token is four bytes or characters, and nothing has none."""
    return -(-len(text) // BYTES_PER_TOKEN)


def id_of(body: bytes) -> str:
    """Equal requests have equal ids, so that answers are the same on every run."""
    return f"{zlib.crc32(body):08x}{len(body):06x}"
