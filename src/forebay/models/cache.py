"""Where models stand: in the user's cache, there whole or not at all, or in the library that brings them."""

import asyncio
import fcntl
import importlib.util
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from forebay.domain.errors import ConfigurationError
from forebay.models.engines import require_engine
from forebay.models.records import CatalogueModel

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
        """Where the model is or will be: its file, or the folder of its files. In the cache it is named by its hash
        too, so that a new pin is a new place.
        """
        if model.library is not None:
            files = self.files(model)
            return files[0] if len(files) == 1 else files[0].parent
        name = model.files[0].name if len(model.files) == 1 else model.name
        return self.folder / f"{model.sha256[:12]}-{name}"

    def files(self, model: CatalogueModel) -> list[Path]:
        """The paths of all its files, in the catalogue's order."""
        if model.library is not None:
            packages = _packages_of(model.library)
            return [packages / part.member for part in model.parts]
        path = self.path(model)
        return [path] if len(model.files) == 1 else [path / file.name for file in model.files]

    def is_pulled(self, model: CatalogueModel) -> bool:
        """Whether it is there: it comes by rename after its hash was checked, so its size is proof enough."""
        try:
            paths = self.files(model)
            return all(path.stat().st_size == file.bytes for path, file in zip(paths, model.files, strict=True))
        except (OSError, ModuleNotFoundError):
            return False

    def require(self, model: CatalogueModel) -> Path:
        """Returns the path of a pulled model.

        Raises: ConfigurationError: it isn't there; names the command that brings it.
        """
        if self.is_pulled(model):
            return self.path(model)
        if model.library is None:
            raise ConfigurationError(
                f"the local model {model.name!r} is not on this machine yet: run `forebay models pull {model.name}`"
            )
        engine = require_engine(model.kind)
        raise ConfigurationError(
            f"the local model {model.name!r} is a part of {', '.join(model.requirements)}, and what is installed holds"
            f" another one: pip install 'forebay[{engine.extra}]'"
        )

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


def _packages_of(module: str) -> Path:
    """The folder that a module's package stands in. Raises: ModuleNotFoundError. Nothing of it is run."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package named {module!r}", name=module)
    return Path(spec.submodule_search_locations[0]).parent


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
