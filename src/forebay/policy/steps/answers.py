"""Answers of a step's calls, read from the lines of its batches: what became of each record."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from forebay.domain.asking import Form
from forebay.domain.fanout import How
from forebay.domain.job import ErrorCode
from forebay.domain.record import Record
from forebay.policy.batch_output import Line, decoded_body, reason_of
from forebay.policy.json_text import is_too_deep
from forebay.policy.output_text import output_of
from forebay.policy.schema import Schema, compile_schema
from forebay.policy.steps.asking import ANSWERS, NUMBER, OUTPUT

DEEPEST_OUTPUT = 100  # levels: no table holds more
_NESTED = (b"{", b"[")
_ONE_ANSWER = frozenset({How.FIRST, How.TARGET})  # aggregates that are a single model's answer
#: Failures of a call for several records that may be one record's: each is asked alone.
_ENDS = frozenset({ErrorCode.BUDGET_EXCEEDED, "price_unknown"})
_SHARED = frozenset({ErrorCode.INVALID_OUTPUT, ErrorCode.TARGET_REJECTED})


class Answer(Record, frozen=True, kw_only=True):
    """What became of one record: ``output`` and, of a fan-out, ``branches``, as JSON; or why there is none.
    ``is_again``: it is to be asked once more, alone.
    """

    key: str
    output: bytes = b""
    branches: bytes | None = None
    code: str | None = None
    message: str = ""
    is_again: bool = False


class Reader:
    """Reads the lines of one batch. ``schema``: of one record's output; ``keys``: of the records that a line asks of,
    by its custom id, where they are several.
    """

    def __init__(self, form: Form, schema: Any, keys: Mapping[str, Sequence[str]], how: How | None = None) -> None:
        self._form = form
        self._schema: Schema | None = None if schema is None else compile_schema(schema)
        self._keys = keys
        self._how = how

    def answers(self, line: Line) -> Iterator[Answer]:
        """One for each record of the line."""
        for answer in self._read(line):
            if answer.output[:1] in _NESTED and is_too_deep(answer.output, DEEPEST_OUTPUT):
                message = f"The output is nested deeper than {DEEPEST_OUTPUT} levels"
                yield Answer(key=answer.key, code=ErrorCode.INVALID_OUTPUT, message=message)
            else:
                yield answer

    def _read(self, line: Line) -> Iterator[Answer]:
        is_shared = self._form in {Form.TOGETHER, Form.VECTORS}
        keys = self._keys.get(line.custom_id, ()) if is_shared else (line.custom_id,)
        if not line.is_success or line.response is None:
            code, message = reason_of(line)
            if self._form is Form.FANOUT and line.response is not None:
                code = _stopped(decoded_body(line.response.body)) or code
            for key in keys:
                yield Answer(key=key, code=code, message=message, is_again=is_shared and code in _SHARED)
            return
        body = decoded_body(line.response.body)
        match self._form:
            case Form.ALONE:
                yield self._own(line.custom_id, output_of(body).value)
            case Form.FANOUT:
                yield self._fanned(line.custom_id, body)
            case Form.VECTORS:
                yield from _vectors(keys, body)
            case Form.TOGETHER:
                yield from self._each(keys, output_of(body).value)

    def _own(self, key: str, value: Any) -> Answer:
        if self._schema is not None:
            checked = self._schema.check(value if isinstance(value, str) else None)
            if not checked.is_valid:
                return Answer(key=key, code=ErrorCode.INVALID_OUTPUT, message="; ".join(checked.reasons))
            value = checked.value
        return Answer(key=key, output=msgspec.json.encode(value))

    def _each(self, keys: Sequence[str], text: Any) -> Iterator[Answer]:
        answers = _numbered(text)
        for place, key in enumerate(keys, 1):
            given = answers.get(place, [])
            if len(given) != 1:
                told = "gave no answer" if not given else f"gave {len(given)} answers"
                message = f"The call for {len(keys)} records {told} for this one"
                yield Answer(key=key, code=ErrorCode.INVALID_OUTPUT, message=message, is_again=True)
                continue
            reasons = () if self._schema is None else self._schema.check_value(given[0]).reasons
            if reasons:
                yield Answer(key=key, code=ErrorCode.INVALID_OUTPUT, message="; ".join(reasons), is_again=True)
            else:
                yield Answer(key=key, output=msgspec.json.encode(given[0]))

    def _fanned(self, key: str, document: Any) -> Answer:
        if code := _stopped(document):
            return Answer(key=key, code=code, message="A branch was not asked")
        body = document.get("body") if isinstance(document, Mapping) else document
        if self._how in _ONE_ANSWER:
            body = output_of(body).value
        branches = document.get("branches") if isinstance(document, Mapping) else None
        kept = None if branches is None else msgspec.json.encode(branches)
        return Answer(key=key, output=msgspec.json.encode(body), branches=kept)


def _stopped(document: Any) -> str | None:
    """Why a branch of a fan-out was not asked, if it is what ends the whole step: the record is not done."""
    told = document if isinstance(document, Mapping) else {}
    entries = told.get("branches") or told.get("body")
    for entry in entries.values() if isinstance(entries, Mapping) else ():
        error = entry.get("error") if isinstance(entry, Mapping) else None
        code = error.get("code") if isinstance(error, Mapping) else None
        if code in _ENDS:
            return str(code)
    return None


def _numbered(text: Any) -> Mapping[int, list[Any]]:
    """The outputs of a shared answer by the numbers that they name."""
    found: dict[int, list[Any]] = {}
    value = compile_schema(True).check(text if isinstance(text, str) else None).value
    answers = value.get(ANSWERS) if isinstance(value, Mapping) else None
    for answer in answers if isinstance(answers, list) else ():
        if isinstance(answer, Mapping) and isinstance(number := answer.get(NUMBER), int) and OUTPUT in answer:
            found.setdefault(number, []).append(answer[OUTPUT])
    return found


def _vectors(keys: Sequence[str], body: Any) -> Iterator[Answer]:
    """The vectors of a shared call, by their indexes."""
    data = body.get("data") if isinstance(body, Mapping) else None
    items = [item for item in data if isinstance(item, Mapping)] if isinstance(data, list) else []
    times = Counter(item.get("index", place) for place, item in enumerate(items))
    vectors = {item.get("index", place): item.get("embedding") for place, item in enumerate(items)}
    for place, key in enumerate(keys):
        if times[place] == 1 and vectors[place] is not None:
            yield Answer(key=key, output=msgspec.json.encode(vectors[place]))
        else:
            message = f"The call for {len(keys)} records gave {times[place]} vectors for this one"
            yield Answer(key=key, code=ErrorCode.INVALID_OUTPUT, message=message, is_again=True)
