"""Where a run is done: on this machine, or by a server. It chooses target and model, and opens the batches' backend."""

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from forebay.app import open_system
from forebay.domain.errors import ConfigurationError
from forebay.runs.backend import Backend
from forebay.runs.local import LocalBatches
from forebay.runs.options import RunOptions
from forebay.runs.place import Place, choose_place, is_configured, private_store
from forebay.settings import Settings, StoreSettings


class Site(Protocol):
    """What a run needs of the place where it is done."""

    def choose(self, options: RunOptions, *, names_models: bool) -> Place:
        """Chooses target, model and endpoint. Blocking. Raises: ConfigurationError: there is no one choice."""
        ...

    def connect(
        self, place: Place, options: RunOptions, *, is_dry: bool = False
    ) -> AbstractAsyncContextManager[Backend]:
        """Opens the batches of runs. ``is_dry``: leaves nothing behind."""
        ...


class LocalSite:
    """This machine: the configured store, or one beside the output; a worker in this process."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._is_configured = is_configured(settings, environ)

    def choose(self, options: RunOptions, *, names_models: bool) -> Place:
        place = choose_place(options, self._settings, names_models=names_models)
        is_declared = place.serving <= {spec.name for spec in self._settings.targets}
        if options.detach and not (self._is_configured and is_declared):
            raise ConfigurationError("--detach needs a configured store and target, which a running worker serves")
        return place

    @asynccontextmanager
    async def connect(self, place: Place, options: RunOptions, *, is_dry: bool = False) -> AsyncIterator[Backend]:
        beside = Path(options.state or options.output)
        settings = place.settings if self._is_configured else private_store(place.settings, beside)
        with _state(settings, is_dry=is_dry) as opened:
            async with open_system(opened) as system:
                with closing(LocalBatches(system, place.serving, is_full=options.is_full)) as batches:
                    yield batches


@contextmanager
def _state(settings: Settings, *, is_dry: bool) -> Iterator[Settings]:
    """The settings themselves; where a dry run finds no store, those of one that is thrown away."""
    if not is_dry or settings.store.path is None or settings.store.path.exists():
        yield settings
        return
    with tempfile.TemporaryDirectory(prefix="forebay-") as folder:
        path = Path(folder) / "forebay.db"
        store = StoreSettings(url=f"sqlite:///{path}", path=path)
        yield msgspec.structs.replace(settings, store=store, blobs=Path(folder) / "blobs")
