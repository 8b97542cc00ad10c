"""A whole engine for tests: a real store (``:memory:`` is the test fake), real blobs in a folder, scripted targets."""

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from forebay.blobs.files import open_blobs
from forebay.domain.ids import IdSource
from forebay.domain.target import Route, TargetSpec, TargetType
from forebay.engine.notices import Notices
from forebay.engine.rules import Rules
from forebay.engine.services import Bounds, Services
from forebay.policy.resolution import Resolver
from forebay.ports import Clock, Notifier, Target
from forebay.secrets import Secrets
from forebay.stores.sqlite import open_store
from forebay.testing.clock import FakeClock
from forebay.testing.conformance.world import OpenedStore


def scripted_spec(name: str, *models: str) -> TargetSpec:
    """How a scripted target is declared."""
    return TargetSpec(
        name=name, type=TargetType.OPENAI, base_url="http://127.0.0.1:9/v1", models=models or (f"{name}-model",)
    )


@asynccontextmanager
async def open_services(
    folder: Path,
    targets: Iterable[Target],
    *,
    specs: Sequence[TargetSpec] | None = None,
    routes: Sequence[Route] = (),
    clock: Clock | None = None,
    store: str | Path | OpenedStore = ":memory:",
    bounds: Bounds | None = None,
    notifier: Notifier | None = None,
) -> AsyncIterator[Services]:
    """Services over the given targets; each is declared by ``scripted_spec`` unless ``specs`` says otherwise.

    ``store``: SQLite's file, or an opened store, which is closed at the end.
    """
    clock = clock or FakeClock()
    by_name = {target.name: target for target in targets}
    declared = list(specs) if specs is not None else [scripted_spec(name) for name in by_name]
    ids = IdSource(clock.now)
    opened = await open_store(store, clock=clock) if isinstance(store, str | Path) else store
    try:
        blobs = await open_blobs(folder / "blobs", clock=clock, ids=ids)
        yield Services(
            clock=clock,
            ids=ids,
            chance=random.Random(7),
            jobs=opened.jobs,
            records=opened.records,
            limits=opened.limits,
            blobs=blobs,
            targets=by_name,
            specs={spec.name: spec for spec in declared},
            resolver=Resolver(tuple(declared), tuple(routes)),
            routes=tuple(routes),
            prices=lambda _address, _model, _tier: None,
            bounds=bounds or Bounds(),
            notices=Notices(opened.records, clock),
            rules=Rules(opened.records, clock),
            secrets=Secrets("the secret key of tests"),
            notifier=notifier,
        )
    finally:
        await opened.close()
