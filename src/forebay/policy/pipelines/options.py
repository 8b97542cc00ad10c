"""What reads the options of each kind of step: the one place where a new kind is entered."""

from collections.abc import Callable, Mapping
from typing import Any

from forebay.domain.pipeline import StepKind
from forebay.policy.steps.chunk import read_chunk
from forebay.policy.steps.dedupe import read_dedupe
from forebay.policy.steps.effects import read_call, read_notify, read_publish
from forebay.policy.steps.fanout import read_fanout
from forebay.policy.steps.index import read_index
from forebay.policy.steps.infer import read_infer, read_infer_once
from forebay.policy.steps.python import read_python
from forebay.policy.steps.read import read_read
from forebay.policy.steps.report import read_report
from forebay.policy.steps.sql import read_sql
from forebay.policy.steps.write import read_write

#: The option that a bare text is.
SHORT = {
    StepKind.READ: "path",
    StepKind.SQL: "query",
    StepKind.PYTHON: "function",
    StepKind.WRITE: "path",
    StepKind.REPORT: "template",
    StepKind.CALL: "pipeline",
}
READERS: dict[StepKind, Callable[[Mapping[str, Any]], object]] = {
    StepKind.READ: read_read,
    StepKind.SQL: read_sql,
    StepKind.PYTHON: read_python,
    StepKind.CHUNK: read_chunk,
    StepKind.DEDUPE: read_dedupe,
    StepKind.INDEX: read_index,
    StepKind.REPORT: read_report,
    StepKind.WRITE: read_write,
    StepKind.INFER: read_infer,
    StepKind.INFER_ONCE: read_infer_once,
    StepKind.FANOUT: read_fanout,
    StepKind.NOTIFY: read_notify,
    StepKind.PUBLISH: read_publish,
    StepKind.CALL: read_call,
}


def check_options(kind: StepKind, options: Mapping[str, Any]) -> None:
    """Raises: RequestError, with the option as ``param``."""
    READERS[kind](options)
