"""What is wrong with a batch's input file: every error of it, up to 1,000, in flat memory, at 50,000 lines a second.

Pure: the batch handler feeds pieces of whole lines, in a thread. Codes and params are OpenAI's (wire.md).
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from forebay.domain.batch import MOST_ERRORS, BatchError
from forebay.policy.json_text import DEEPEST, is_too_deep, why_not_json

JudgeModel = Callable[[str | None], BatchError | None]  # why a model can't be asked; None: it can

_BUCKETS = 64  # sorted one by one, so that a million ids never stand as a million objects
_HASH_MASK = (1 << 64) - 1
_POST = "POST"
_FIELDS = ("custom_id", "method", "url", "body")
_LONGEST_SHOWN = 100


class _Body(msgspec.Struct, gc=False):
    model: object = None
    stream: object = None


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    method: str
    url: str
    body: _Body


class _Name(msgspec.Struct, gc=False):
    custom_id: object = None


_LINE = msgspec.json.Decoder(_Line)
_NAME = msgspec.json.Decoder(_Name)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder()
_ABSENT = (None, "")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class InputCheck:
    """Reads a file once. ``is_over``: there is no need to read on."""

    def __init__(self, endpoint: str, judge_model: JudgeModel, max_lines: int) -> None:
        self.errors: list[BatchError] = []
        self.lines = 0  # blank ones included
        self.count = 0  # blank ones left out
        self._endpoint = endpoint
        self._judge_model = judge_model
        self._max_lines = max_lines
        self._good_models: set[object] = set()
        self._seen = SeenIds()

    @property
    def is_over(self) -> bool:
        return len(self.errors) >= MOST_ERRORS or self.count > self._max_lines

    def feed(self, piece: bytes) -> None:
        """Takes whole lines, each with its newline; only the file's last may have none."""
        is_text = _is_utf8(piece)
        for raw in split_lines(piece):
            self.lines += 1
            if not raw or raw.isspace():
                continue
            self.count += 1
            custom_id = self._good_id(raw) if is_text else None
            if custom_id is not None:
                self._seen.add(custom_id)
                continue
            self._diagnose(raw)
            if self.is_over:
                return

    def finish(self) -> frozenset[int]:
        """Adds what can be said at the end, and returns the hashes of ids that seem to stand twice.

        If there are any, feed the file to a DuplicateCheck.
        """
        if self.count > self._max_lines:
            message = f"The file has more than {self._max_lines} lines (setting `max_batch_lines`)"
            self.errors.append(BatchError(code="too_many_lines", message=message))
        elif self.count == 0:
            self.errors.append(BatchError(code="empty_file", message="The file has no requests"))
        if self.is_over:
            return frozenset()
        return self._seen.repeated()

    def _good_id(self, raw: bytes) -> str | None:
        """The id of a line without fault; None has it looked at closely."""
        try:
            line = _LINE.decode(raw)
            body = line.body
            if body.model not in self._good_models or body.stream is True:
                return None
        except (*_UNREADABLE, TypeError):  # TypeError: a model that can't be hashed
            return None
        if line.url != self._endpoint or line.method != _POST or is_too_deep(raw):
            return None
        return line.custom_id or None

    def _diagnose(self, raw: bytes) -> None:
        """Says all that is wrong with one line; a line whose model is new may have no fault."""
        if self.count > self._max_lines:
            return
        try:
            raw.decode()
            members = _MEMBERS.decode(raw)
        except msgspec.ValidationError:
            self._add("invalid_json_line", "This line is not a JSON object")
            return
        except _UNREADABLE as exc:
            self._add("invalid_json_line", f"This line is {why_not_json(raw, exc)}")
            return
        if is_too_deep(raw):
            self._add("invalid_json_line", f"This line is nested deeper than {DEEPEST}")
            return
        line = {name: _plain(members[name]) for name in _FIELDS if name in members}
        for name in _FIELDS:
            if line.get(name) in _ABSENT:
                self._add("missing_required_parameter", f"Missing required parameter: '{name}'", name)
        self._check_envelope(line)
        if line.get("body") not in _ABSENT:
            self._check_body(bytes(members["body"]))

    def _check_envelope(self, line: dict[str, Any]) -> None:
        custom_id, method, url = line.get("custom_id"), line.get("method"), line.get("url")
        if isinstance(custom_id, str) and custom_id:
            self._seen.add(custom_id)
        elif custom_id not in _ABSENT:
            self._add("invalid_value", "'custom_id' must be a string", "custom_id")
        if method not in (*_ABSENT, _POST):
            self._add("invalid_method", f"The method must be 'POST', not {_shown(method)}", "method")
        if url not in (*_ABSENT, self._endpoint):
            message = f"The url {_shown(url)} is not the batch's endpoint {self._endpoint!r}"
            self._add("mismatched_url", message, "url")

    def _check_body(self, raw: bytes) -> None:
        try:
            body = _MEMBERS.decode(raw)
        except msgspec.ValidationError:
            self._add("invalid_value", "'body' must be a JSON object", "body")
            return
        if "stream" in body and _plain(body["stream"]) is True:
            message = "Streaming is not supported in a batch: leave `stream` out"
            self._add("streaming_unsupported", message, "body.stream")
        model = _plain(body["model"]) if "model" in body else None
        if model is not None and not isinstance(model, str):
            self._add("invalid_value", "'body.model' must be a string", "body.model")
            return
        refusal = self._judge_model(model)
        if refusal is None:
            self._good_models.add(model)
        else:
            self._add(refusal.code, refusal.message, refusal.param)

    def _add(self, code: str, message: str, param: str | None = None) -> None:
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(BatchError(code=code, message=message, line=self.lines, param=param))


class SeenIds:
    """The ids of a file at eight bytes each."""

    def __init__(self) -> None:
        self._hashes = [array("Q") for _ in range(_BUCKETS)]

    def add(self, custom_id: str) -> None:
        number = hash(custom_id) & _HASH_MASK
        self._hashes[number % _BUCKETS].append(number)

    def repeated(self) -> frozenset[int]:
        """The hashes of ids that seem to stand twice, for a DuplicateCheck; at most as many as errors are told."""
        return frozenset(islice(self._repeated(), MOST_ERRORS))

    def _repeated(self) -> Iterator[int]:
        for bucket in self._hashes:
            last = None
            for number in sorted(bucket):
                if number == last:
                    yield number
                last = number
            del bucket[:]


class DuplicateCheck:
    """The second reading: tells ids that stand twice from hashes that are alike by chance."""

    def __init__(self, suspects: frozenset[int]) -> None:
        self.errors: list[BatchError] = []
        self._suspects = suspects
        self._first_lines: dict[str, int] = {}
        self._line = 0

    @property
    def is_over(self) -> bool:
        return len(self.errors) >= MOST_ERRORS

    def feed(self, piece: bytes) -> None:
        """Takes whole lines, as InputCheck does."""
        for raw in split_lines(piece):
            self._line += 1
            custom_id = custom_id_of(raw)
            if not custom_id or hash(custom_id) & _HASH_MASK not in self._suspects:
                continue
            first = self._first_lines.setdefault(custom_id, self._line)
            if first != self._line:
                message = f"The custom_id {_shown(custom_id)} stands in line {first} already"
                self.errors.append(
                    BatchError(code="duplicate_custom_id", message=message, line=self._line, param="custom_id")
                )
                if self.is_over:
                    return


def merged(found: Iterable[BatchError], duplicates: Iterable[BatchError]) -> tuple[BatchError, ...]:
    """All errors of a file in the order of its lines; those of the whole file first."""
    both = sorted([*found, *duplicates], key=lambda error: error.line or 0)
    return tuple(both[:MOST_ERRORS])


def custom_id_of(raw: bytes) -> str | None:
    """The ``custom_id`` of a line, None where it has none that is text."""
    try:
        found = _NAME.decode(raw).custom_id
    except _UNREADABLE:
        return None
    return found if isinstance(found, str) else None


def split_lines(piece: bytes) -> list[bytes]:
    """Splits at newlines alone: a lone carriage return is white space within JSON."""
    lines = piece.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _is_utf8(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plain(raw: msgspec.Raw) -> object:
    """A member's value; one that no program holds (1e400) is given as it is written."""
    try:
        return _ANY.decode(raw)
    except _UNREADABLE:
        return bytes(raw)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
