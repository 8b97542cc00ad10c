"""What a call was refused with: any other exception fails the test by itself."""

import json
from collections.abc import Callable
from typing import Any

from forebay.domain.errors import ConfigurationError, RequestError


def refusal_of(call: Callable[[], Any]) -> RequestError | None:
    """The refusal, which has a sentence and a code that JSON can carry; None if there was none."""
    found: RequestError | None = None
    try:
        call()
    except RequestError as refusal:
        found = refusal
    if found is not None:
        assert found.message.strip()
        assert found.code
        assert json.dumps([found.message, found.param]).encode()
    return found


def complaint_of(call: Callable[[], Any]) -> str | None:
    """What a ConfigurationError said; None if there was none."""
    said: str | None = None
    try:
        call()
    except ConfigurationError as complaint:
        said = str(complaint)
    assert said is None or said.strip()
    return said
