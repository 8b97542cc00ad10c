"""Ways to plant a fault for the length of a test."""

from collections.abc import Callable

import pytest

from forebay.stores.sqlite import opening, transaction
from forebay.stores.sqlite.statements import migrations, statements

Breaks = Callable[[pytest.MonkeyPatch], None]


def statement(key: str, old: str, new: str) -> Breaks:
    """Changes the text of one statement."""

    def breaks(patch: pytest.MonkeyPatch) -> None:
        text = statements()[key]
        assert old in text, f"{key!r} has changed: {old!r} is not in it any more; mend this mutant"
        broken = {**transaction.statements(), key: text.replace(old, new)}
        patch.setattr(transaction, "statements", lambda: broken)

    return breaks


def layout(old: str, new: str) -> Breaks:
    """Changes the text of the layout that new stores are given."""

    def breaks(patch: pytest.MonkeyPatch) -> None:
        files = migrations()
        assert any(old in text for _, text in files), f"{old!r} is not in the layout any more; mend this mutant"
        broken = [(number, text.replace(old, new)) for number, text in files]
        patch.setattr(opening, "migrations", lambda: broken)

    return breaks


def function(owner: object, name: str, instead: Callable[..., object]) -> Breaks:
    """Puts another function in the place of a module's, or of a class's."""
    return lambda patch: patch.setattr(owner, name, instead)


def all_of(*several: Breaks) -> Breaks:
    """Plants several at once: one fault that is made in several places."""

    def breaks(patch: pytest.MonkeyPatch) -> None:
        for one in several:
            one(patch)

    return breaks
