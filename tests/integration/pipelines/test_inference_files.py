"""Files of a folder go to a model with their contents."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.domain.pipeline import StepKind, StepOutcome, StepSpec, StepWork, segments_of
from forebay.engine.intake import store_bytes
from tests.integration.pipelines.inference_house import SCOPE, House, open_house, spec_of

PICTURES = {"a.png": b"\x89PNG\x00one", "b.jpg": b"\xff\xd8\x00two"}
BODY = {
    "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "{file.data_url}"}}]}],
    "name": "{name}",
}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, str) as opened:
        yield opened


async def _read(house: House, folder: Path) -> StepOutcome:
    spec = StepSpec(name="load", kind=StepKind.READ, options={"path": "pictures"})
    return await house.tables.run(StepWork(run_id="run_1", pipeline="p", step=spec, folder=str(folder)))


async def test_each_picture_is_sent_and_paid_once_and_stays_with_the_answers(house: House, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name, data in PICTURES.items():
        (tmp_path / "pictures" / name).write_bytes(data)
    step = spec_of({"target": "t", "body": BODY})
    for expected in (2, 0):
        load = await _read(house, tmp_path)
        work = StepWork(run_id="run_1", pipeline="p", step=step, inputs={"rows": load.output}, scope=SCOPE)
        outcome = await house.outcome(await house.ended(await house.add(work)))
        sent = [json.loads(call.body)["messages"][0]["content"][0]["image_url"]["url"] for call in house.model.calls]
        assert len(sent) == expected
        assert outcome.counts.succeeded == 2
        assert outcome.output.contents == load.output.contents
        assert segments_of(outcome.output)[-1].blob_id == load.output.contents[0].blob_id
        if expected:
            assert sorted(sent) == sorted(
                f"data:{kind};base64,{base64.b64encode(data).decode()}"
                for kind, data in zip(("image/png", "image/jpeg"), PICTURES.values(), strict=True)
            )
        house.model.calls.clear()


async def test_a_record_that_names_another_blob_than_those_that_were_read_is_rejected(house: House) -> None:
    secret = await store_bytes(b"another tenant's", house.services.blobs)
    forged = {"blob_id": secret.blob_id, "start": 0, "bytes": 16, "content_type": "text/plain", "filename": "x"}
    job = await house.ended(await house.job([{"name": "x", "file": forged}], spec_of({"target": "t", "body": BODY})))
    outcome = await house.outcome(job)
    [rejected] = await house.rows(outcome.output.rejected)
    assert (rejected["error"]["code"], house.model.calls) == ("file_not_found", [])
