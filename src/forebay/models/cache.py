"""Where pulled models stand: one file each in the user's cache, there whole or not at all."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from forebay.domain.errors import ConfigurationError
from forebay.models.catalogue import CatalogueModel

LOCK_POLL_SECONDS = 0.2


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Returns ``$FOREBAY_CACHE``, else ``$XDG_CACHE_HOME/forebay/models``, else ``~/.cache/forebay/models``."""
    if own := environment.get("FOREBAY_CACHE"):
        return Path(own).expanduser().absolute()
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "forebay" / "models"


@dataclass(frozen=True, slots=True)
class ModelCache:
    """The pulled models under ``folder``. Any number of processes may share it."""

    folder: Path

    def path(self, model: CatalogueModel) -> Path:
        """Where the model's file is or will be; named by its hash too, so that a new pin is a new file."""
        return self.folder / f"{model.sha256[:12]}-{model.file}"

    def is_pulled(self, model: CatalogueModel) -> bool:
        """Whether it is there: it comes by rename after its hash was checked, so its size is proof enough."""
        try:
            return self.path(model).stat().st_size == model.bytes
        except OSError:
            return False

    def require(self, model: CatalogueModel) -> Path:
        """Returns the path of a pulled model.

        Raises: ConfigurationError: it isn't pulled; names the command that does it.
        """
        if not self.is_pulled(model):
            raise ConfigurationError(
                f"the local model {model.name!r} is not on this machine yet: run `forebay models pull {model.name}`"
            )
        return self.path(model)

    @asynccontextmanager
    async def lock(self, model: CatalogueModel, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Holds the model's pull lock against every process of the machine; the system frees it if we die.

        ``on_wait`` is called once if another process has it. The lock file stays: deleting it would let two
        processes hold locks on two files of one name.

        Raises: ConfigurationError: the cache can't be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / f".{model.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"the model cache {str(self.folder)!r} can't be written ({error.strerror}): set FOREBAY_CACHE"
            ) from error
        try:
            is_told = False
            while not _try_lock(handle):
                if not is_told:
                    on_wait()
                    is_told = True
                await asyncio.sleep(LOCK_POLL_SECONDS)
            yield
        finally:
            os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
