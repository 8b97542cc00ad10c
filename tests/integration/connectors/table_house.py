"""A house for tests of steps over tables: blobs in a folder, the real DuckDB, and inputs by a line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from forebay.blobs.files import open_blobs
from forebay.connectors.tables import DuckTables
from forebay.domain.ids import IdSource
from forebay.domain.pipeline import StepKind, StepOutcome, StepOutput, StepSpec, StepWork, TableRef
from forebay.ports import BlobStore
from forebay.testing.clock import FakeClock


class TableHouse:
    """Runs steps, one after the other; ``folder`` is the pipeline's."""

    def __init__(self, tables: DuckTables, blobs: BlobStore, folder: Path) -> None:
        self.tables = tables
        self.blobs = blobs
        self.folder = folder

    async def run(self, kind: str, inputs: dict[str, StepOutput] | None = None, **options: Any) -> StepOutcome:
        return await self.tables.run(self.work(kind, inputs, **options))

    def work(self, kind: str, inputs: dict[str, StepOutput] | None = None, **options: Any) -> StepWork:
        params = options.pop("_params", {"least": 3, "word": "o'k"})
        spec = StepSpec(name="this", kind=StepKind(kind), options=options, inputs=tuple(inputs or ()))
        scope = {"run": {"id": "run_1", "date": "2026-11-21"}, "params": params}
        folder = str(self.folder)
        return StepWork(run_id="run_1", pipeline="p", step=spec, inputs=inputs or {}, scope=scope, folder=folder)

    async def rows(self, table: TableRef | None, limit: int = 100) -> list[dict[str, Any]]:
        assert table is not None
        return await self.tables.rows(table, limit=limit)

    async def content(self, blob_id: str, start: int, end: int) -> bytes:
        return b"".join([piece async for piece in self.blobs.read(blob_id, start, end)])

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


@asynccontextmanager
async def table_house(folder: Path) -> AsyncIterator[TableHouse]:
    clock = FakeClock()
    blobs = await open_blobs(folder / "blobs", clock=clock, ids=IdSource(clock.now))
    data, work = folder / "data", folder / "work"
    data.mkdir(parents=True)
    tables = DuckTables(blobs, work)
    yield TableHouse(tables, blobs, data)
    await tables.close()
    assert list(work.glob("*")) == []  # whatever happened: no work leaves anything
