"""Files within an answer that is JSON: the answer names them, and they go when it is erased."""

import msgspec
import pytest

from forebay.domain.file import FILE, file_data
from forebay.domain.inference import InferenceResult
from forebay.domain.job import Status
from forebay.engine.erasure import erase
from forebay.targets.attached import attached
from forebay.testing.targets import ScriptedTarget

from .conftest import OpenEngine


def picture_answer(extra: str = "") -> tuple[InferenceResult, list[bytes]]:
    first, one = attached(b"\x89PNG-one", "image/png", "chart.png")
    second, two = attached(b"RIFF-two", "audio/wav")
    body = msgspec.json.encode({"content": [{"file": first}, {"file": second}], "text": extra})
    return InferenceResult(status_code=200, body=body, files=(one, two)), [one.content, two.content]


@pytest.mark.parametrize("length", [0, 100_000])  # the answer stands in its row, or is a blob
async def test_the_answer_names_its_files_and_their_erasure_is_its_own(open_engine: OpenEngine, length: int) -> None:
    answer, contents = picture_answer("x" * length)
    engine = await open_engine(ScriptedTarget("t", [answer]))
    worker = await engine.worker()
    job_id = await engine.submit()
    await worker.run_until_idle()
    job = await engine.get(job_id)
    assert (job.status, job.result is not None) == (Status.SUCCEEDED, True)
    services = engine.services
    assert job.result is not None
    content = job.result.body
    whole = (
        b"".join([piece async for piece in services.blobs.read(content.blob_id)]) if content.blob_id else content.text
    )
    files = [block["file"] for block in msgspec.json.decode(whole or "")["content"]]
    assert [(one["object"], one["content_type"], one["bytes"]) for one in files] == [
        ("file", "image/png", 8),
        ("file", "audio/wav", 8),
    ]
    records = [await services.records.get("default", FILE, one["file_id"]) for one in files]
    known = [file_data(record) for record in records if record is not None]
    assert [one.filename for one in known] == ["chart.png", f"{job_id}.wav"]
    for one, expected in zip(known, contents, strict=True):
        assert b"".join([piece async for piece in services.blobs.read(one.blob_id or "")]) == expected
    assert answer.files[0].mark not in str(whole)
    await erase("default", job_id, services)
    for one in files:
        assert await services.records.get("default", FILE, one["file_id"]) is None


async def test_a_file_that_an_answer_only_speaks_of_stays(open_engine: OpenEngine) -> None:
    answer, _ = picture_answer()
    speaking: list[InferenceResult] = []
    engine = await open_engine(ScriptedTarget("t", [answer, lambda _: speaking[0]]))
    worker = await engine.worker()
    owner = await engine.submit()
    await worker.run_until_idle()
    result = (await engine.get(owner)).result
    assert result is not None
    file_id = msgspec.json.decode(result.body.text or "")["content"][0]["file"]["file_id"]
    speaking.append(
        InferenceResult(status_code=200, body=msgspec.json.encode({"file_id": file_id, "n": [{"file_id": file_id}]}))
    )
    other = await engine.submit()
    await worker.run_until_idle()
    assert (await engine.get(other)).status is Status.SUCCEEDED
    await erase("default", other, engine.services)
    assert await engine.services.records.get("default", FILE, file_id) is not None
