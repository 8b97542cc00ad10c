"""Answers: a batch's lines made into tables, and joined with the records that they answer."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import msgspec

from forebay.connectors.duck import literal
from forebay.connectors.inference_files import LinesFile, parquet
from forebay.connectors.workplace import Workplace
from forebay.domain.asking import Form
from forebay.policy.batch_output import read_line
from forebay.policy.steps.answers import Reader
from forebay.ports.asking import BatchLines

ANSWER_COLUMNS = "{key: 'VARCHAR', output: 'VARCHAR', branches: 'VARCHAR'}"
FAILURE_COLUMNS = "{key: 'VARCHAR', code: 'VARCHAR', message: 'VARCHAR', is_again: 'BOOLEAN'}"
LONGEST_MESSAGE = 2000
NO_PAID = (
    "SELECT NULL::VARCHAR AS key, NULL::VARCHAR AS output, NULL::VARCHAR AS branches, 0::DOUBLE AS answered_at,"
    " 0::DOUBLE AS used_at WHERE false"
)


class _Keys(msgspec.Struct, gc=False):
    custom_id: str
    keys: list[str] = []


class _Ledger(msgspec.Struct, gc=False):
    attempts: list[msgspec.Raw] = []


_LEDGER = msgspec.json.Decoder(_Ledger)
_KEYS = msgspec.json.Decoder(_Keys)


@dataclass(slots=True)
class Read:
    """What was read. ``codes``: of failures; those that are asked again are in ``again``."""

    answered: int = 0
    failed: int = 0
    again: int = 0
    calls: int = 0
    codes: Counter[str] = field(default_factory=Counter)


def keys_of(path: Path, form: Form) -> Mapping[str, Sequence[str]]:
    """The records that each line of a batch's input asks of; where that is one, its custom id says it."""
    if form not in {Form.TOGETHER, Form.VECTORS}:
        return {}
    with path.open("rb") as file:
        return {line.custom_id: line.keys for line in map(_KEYS.decode, file)}


def count_shared(place: Workplace, plan: Path, given: Path) -> int:
    """How many of a plan's pending records a batch's input asks of."""
    listed = place.path("keys.csv")
    with given.open("rb") as file, listed.open("wb") as keys:
        for line in map(_KEYS.decode, file):
            keys.writelines(f"{key}\n".encode() for key in line.keys or [line.custom_id])
    named = (
        f"SELECT key FROM read_csv({literal(listed)}, header=false, auto_detect=false, columns={{'key': 'VARCHAR'}})"
    )
    query = f"SELECT count(*) FROM {parquet([plan])} WHERE place IS NOT NULL AND key IN ({named})"
    with place.connection() as connection:
        ((count,),) = connection.execute(query).fetchall()
    return int(count)


def read_answers(place: Workplace, lines: BatchLines) -> tuple[Read, Path, Path]:
    """Reads a batch's segments. Returns what there is of each, and two tables: answers and failures."""
    given = place.local(lines.input_blob_id)
    segments = [place.local(blob_id) for blob_id in lines.segments]
    reader = Reader(lines.form, lines.schema, keys_of(given, lines.form), lines.how)
    answers, failures = LinesFile(place.path("answers.json")), LinesFile(place.path("failures.json"))
    read = Read()
    with closing(answers), closing(failures):
        for text in chain(lines.lines, _lines(segments)):
            if text.strip():
                _write(reader, text, (answers, failures), read)
    for text in _lines([place.local(blob_id) for blob_id in lines.ledgers]):
        read.calls += len(_LEDGER.decode(text).attempts)
    table, rejected = place.path("answers.parquet"), place.path("failures.parquet")
    stamp = f"{lines.now!r}::DOUBLE"
    stamped = f"SELECT *, {stamp} AS answered_at, {stamp} AS used_at FROM {answers.table(ANSWER_COLUMNS)}"
    told = f"SELECT * FROM {failures.table(FAILURE_COLUMNS)}"
    with place.connection() as connection:
        for query, path in ((stamped, table), (told, rejected)):
            connection.execute(f"COPY ({query}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)")
    return read, table, rejected


def latest(paid: Sequence[Path]) -> str:
    """The paid answers, of each the last, as a query."""
    if not paid:
        return NO_PAID
    columns = "key, output, branches, answered_at, used_at"
    if len(paid) == 1:
        return f"SELECT {columns} FROM {parquet(paid)}"
    return (
        f"SELECT {columns} FROM {parquet(paid)}"
        " QUALIFY row_number() OVER (PARTITION BY key ORDER BY answered_at DESC, output) = 1"
    )


def _write(reader: Reader, text: bytes, files: tuple[LinesFile, LinesFile], read: Read) -> None:
    answers, failures = files
    for answer in reader.answers(read_line(text)):
        if answer.code is None:
            read.answered += 1
            branches = None if answer.branches is None else answer.branches.decode()
            answers.write({"key": answer.key, "output": answer.output.decode(), "branches": branches})
            continue
        if answer.is_again:
            read.again += 1
        else:
            read.failed += 1
            read.codes[answer.code] += 1
        told = {"key": answer.key, "code": answer.code, "message": answer.message[:LONGEST_MESSAGE]}
        failures.write({**told, "is_again": answer.is_again})


def _lines(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            yield from file
