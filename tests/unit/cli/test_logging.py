"""What is logged, and what is not even with `--debug`."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from forebay.cli.logging import set_up_logging


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    level, handlers = logger.level, logger.handlers
    yield logger
    logger.setLevel(level)
    logger.handlers = handlers
    structlog.reset_defaults()


@pytest.mark.parametrize(("level", "expected"), [("debug", "INFO"), ("info", "WARNING"), ("error", "ERROR")])
def test_the_libraries_show_no_headers_and_bodies_at_any_level(root: logging.Logger, level: str, expected: str) -> None:
    set_up_logging(level)
    assert root.level == getattr(logging, expected)
