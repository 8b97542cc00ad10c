"""What steps read beside plain files: folders, wildcards, archives, lines of text, documents, objects, the web."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.domain.errors import RequestError
from tests.integration.connectors.table_house import TableHouse, table_house

PICTURE = b"\x89PNG\r\n\x1a\n\x00\x00pixels"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TableHouse]:
    async with table_house(tmp_path) as opened:
        yield opened


async def test_a_folder_is_a_record_for_each_file(house: TableHouse) -> None:
    house.file("docs/b/two.md", "# two")
    house.file("docs/one.txt", "ein ü")
    house.file("docs/p.png", PICTURE)
    house.file("docs/q.bin", b"\xff\x00\xfe")
    house.file("docs/.hidden", "no")
    load = await house.run("read", path="docs")
    rows = await house.rows(load.output.table)
    assert [(row["path"], row["content_type"], row["text"]) for row in rows] == [
        ("b/two.md", "text/markdown", "# two"),
        ("one.txt", "text/plain", "ein ü"),
        ("p.png", "image/png", None),
        ("q.bin", "application/octet-stream", None),
    ]
    assert rows[0]["file"] is None
    (content,) = load.output.contents
    for row, data in ((rows[2], PICTURE), (rows[3], b"\xff\x00\xfe")):
        place = row["file"]
        assert place["blob_id"] == content.blob_id
        assert await house.content(place["blob_id"], place["start"], place["start"] + place["bytes"]) == data


async def test_what_rows_refer_to_is_kept_with_every_table_made_of_them(house: TableHouse) -> None:
    house.file("docs/p.png", PICTURE)
    load = await house.run("read", path="docs")
    chosen = await house.run("sql", {"load": load.output}, query="SELECT name, file FROM load")
    assert chosen.output.contents == load.output.contents


async def test_wildcards_read_files_in_order_and_by_the_names_of_their_columns(house: TableHouse) -> None:
    house.file("in/b.csv", "text;id\nzwei;2\n")
    house.file("in/a.csv", "id,text\n1,eins\n")
    house.file("in/sub/c.csv", "id,text,more\n3,drei,x\n")
    load = await house.run("read", path="in/**/*.csv")
    assert await house.rows(load.output.table) == [
        {"id": "1", "text": "eins", "more": None},
        {"id": "2", "text": "zwei", "more": None},
        {"id": "3", "text": "drei", "more": "x"},
    ]
    assert [one.path for one in load.output.sources] == ["in/a.csv", "in/b.csv", "in/sub/c.csv"]


async def test_names_with_characters_of_wildcards_are_read_as_they_are(house: TableHouse) -> None:
    house.file("odd [1]*'.csv", "id\n7\n")
    load = await house.run("read", path="odd [1]*'.csv")
    assert await house.rows(load.output.table) == [{"id": "7"}]


def _archive(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


async def test_an_archive_is_a_folder_or_its_tables(house: TableHouse) -> None:
    house.file("all.zip", _archive(**{"a.csv": b"id\n1\n", "x/b.csv": b"id\n2\n", "__MACOSX/c.csv": b"no"}))
    documents = await house.run("read", path="all.zip")
    assert [row["path"] for row in await house.rows(documents.output.table)] == ["a.csv", "x/b.csv"]
    records = await house.run("read", path="all.zip", format="csv")
    assert await house.rows(records.output.table) == [{"id": "1"}, {"id": "2"}]
    house.file("broken.zip", _archive(a=b"x" * 100)[:-30])
    with pytest.raises(RequestError, match=r"broken\.zip") as raised:
        await house.run("read", path="broken.zip")
    assert raised.value.code == "source_failed"


async def test_a_text_file_is_a_record_for_each_line(house: TableHouse) -> None:
    house.file("in.txt", b"\xef\xbb\xbfone\r\n\ntw\xff\nthree")
    load = await house.run("read", path="in.txt")
    assert [row["text"] for row in await house.rows(load.output.table)] == ["one", "", "three"]
    assert [row["line"] for row in await house.rows(load.output.rejected)] == [3]


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"PAR1 no PAR1"])
async def test_a_file_that_is_no_parquet_fails_as_a_source(house: TableHouse, content: bytes) -> None:
    house.file("in.parquet", content)
    with pytest.raises(RequestError, match=r"in\.parquet") as raised:
        await house.run("read", path="in.parquet")
    assert raised.value.code == "source_failed"


@pytest.mark.parametrize("place", ["../secret.csv", "/etc/passwd", "x/../../secret.csv", "https://127.0.0.1/x.csv"])
async def test_a_parameter_leads_nowhere_but_below_its_folder(house: TableHouse, place: str) -> None:
    house.file("in/a.csv", "id\n1\n")
    work = house.work("read", path="{params.file}", _params={"file": place})
    with pytest.raises(RequestError, match="leads out"):
        await house.tables.run(work)
    inside = house.work("read", path="in/{params.file}", _params={"file": "a.csv"})
    assert (await house.tables.run(inside)).counts.succeeded == 1
