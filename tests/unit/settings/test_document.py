"""docs/settings.md tells the truth."""

from pathlib import Path

from forebay.settings.document import settings_page
from forebay.settings.load import KEYS

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == settings_page(), "run `python -m forebay.settings.document > docs/settings.md`"


def test_every_key_is_on_the_page() -> None:
    assert all(f"`{key}`" in settings_page() for key in KEYS)
