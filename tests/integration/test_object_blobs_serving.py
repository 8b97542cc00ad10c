"""A server whose blobs are in S3 takes a batch file and gives its output back."""

from pathlib import Path

import pytest

from forebay.app import open_storage
from forebay.blobs.objects import ObjectBlobs
from forebay.domain.errors import StoreRefused
from forebay.settings import load_settings
from tests.integration.batch_house import request, running_house
from tests.integration.s3_house import BUCKET, empty_bucket

LONG = "a long text, " * 8_000  # more than stands in a row


def blobs_under(folder: Path) -> list[Path]:
    return list(folder.glob("**/blob_*"))


async def test_a_batch_file_goes_through_s3_and_its_output_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = empty_bucket(monkeypatch)
    blobs = load_settings(None, {"FOREBAY_BLOBS": f"s3://{BUCKET}/forebay"}).blobs
    async with running_house(tmp_path, blobs=blobs) as house:
        assert isinstance(house.system.services.blobs, ObjectBlobs)
        file = b"".join([request("long", LONG), *(request(f"r{number}") for number in range(50))])
        made = await house.batch(file)
        done = await house.ended(made.id)
        assert done.status == "completed"
        assert {line["custom_id"] for line in await house.lines(done.output_file_id)} == {
            "long",
            *(f"r{number}" for number in range(50)),
        }
        assert (await house.openai.files.content(made.input_file_id)).content == file
    assert any(name.startswith("forebay/blobs/") for name in bucket.keys)
    assert not blobs_under(tmp_path)


async def test_a_store_refuses_another_prefix_than_its_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_bucket(monkeypatch)
    monkeypatch.chdir(tmp_path)
    first, other = (load_settings(None, {"FOREBAY_BLOBS": f"s3://{BUCKET}/{prefix}"}) for prefix in ("one", "two"))
    for _ in range(2):
        async with open_storage(first):
            pass
    with pytest.raises(StoreRefused, match="blobs"):
        async with open_storage(other):
            pass
