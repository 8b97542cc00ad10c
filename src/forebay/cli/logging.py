"""Logs: one event a line on stderr, as JSON or, on a terminal, for people. Ids always; prompts, results, keys never."""

import logging
import sys

import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def set_up_logging(level: str) -> None:
    """Sends structlog's events and the libraries' log records to stderr. Call once, before anything logs."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, _renderer()],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=_stderr_logger,
        cache_logger_on_first_use=False,  # 3 us an event, of which a job has none; who listens later hears all
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _renderer(),
        ],
    )
    handler = _StderrHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    # never the libraries' own `debug`: it shows headers, keys among them, and bodies
    root.setLevel(logging.INFO if level == "debug" else max(LEVELS[level], logging.WARNING))


def _renderer() -> structlog.typing.Processor:
    if sys.stderr.isatty():
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer(default=str)


class _CurrentStderr:
    """Whatever ``sys.stderr`` is now: a live display puts itself there, so that log lines go above it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _StderrLogger:
    """What structlog's events end in."""

    def msg(self, message: str) -> None:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = exception = fatal = log = msg


def _stderr_logger(*_names: str) -> _StderrLogger:
    return _StderrLogger()


class _StderrHandler(logging.StreamHandler[_CurrentStderr]):
    def __init__(self) -> None:
        super().__init__(_CurrentStderr())
