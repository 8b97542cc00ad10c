"""Optional back ends."""

import sys

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.stores.drivers import store_driver


@pytest.mark.parametrize(
    ("name", "module", "needed", "extra"),
    [
        ("s3", "forebay.blobs.objects", "obstore", "s3"),
        ("postgresql", "forebay.stores.postgres", "asyncpg", "postgres"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, needed: str, extra: str
) -> None:
    for loaded in [one for one in sys.modules if one == module or one.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, needed, None)
    with pytest.raises(ConfigurationError, match=rf"^{name} needs {needed}: pip install 'forebay\[{extra}\]'$"):
        store_driver.__wrapped__(name)
