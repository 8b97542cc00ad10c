"""Steps of kind ``write``: a table as a file, which appears whole or not at all."""

import hashlib
from pathlib import Path

import duckdb

from forebay.connectors.drafts import replacing
from forebay.connectors.duck import refusal
from forebay.connectors.parquet import one_table
from forebay.connectors.sinks.files import write_file
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SINK_FAILED, Counts, InputFile, StepOutcome, StepOutput, StepWork
from forebay.policy.steps.places import render_place
from forebay.policy.steps.write import read_write

THREADS = 2


def run_write(work: StepWork, place: Workplace) -> StepOutcome:
    """Writes the one input. Raises: RequestError (`sink_failed`): what stood there still does."""
    options = read_write(work.step.options)
    table = one_table(work)
    shown = render_place(options.path or "", work.scope)
    target = Path(work.folder) / shown
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as draft, place.connection(threads=THREADS) as connection:
            write_file(connection, place.local(table.blob_id), table, options.form, draft)
            place.stopper.check()
            written = described(draft, shown)
    except duckdb.Error as exc:
        raise refusal(exc, code=SINK_FAILED, folder=place.folder) from exc
    except OSError as exc:
        raise RequestError(f"{shown!r} can't be written: {exc.strerror or exc}", code=SINK_FAILED) from exc
    return StepOutcome(output=StepOutput(files=(written,)), counts=Counts(entered=table.rows, succeeded=table.rows))


def described(path: Path, shown: str) -> InputFile:
    """A file by its content."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return InputFile(path=shown, bytes=file.tell(), digest=digest)
