"""Loads the SQL: one file per verb in ``sql/``, its statements named by ``-- name:`` lines. Keys are ``verb.name``."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_MARK = "-- name:"


@cache
def statements() -> Mapping[str, str]:
    """Every statement by ``verb.name``, read once."""
    found: dict[str, str] = {}
    for path in files(__package__).joinpath("sql").iterdir():
        verb, _, extension = path.name.rpartition(".")
        if extension == "sql":
            found.update({f"{verb}.{name}": text for name, text in _split(path.read_text("utf-8"))})
    return found


def migrations() -> list[tuple[int, str]]:
    """The numbered files of ``schema/`` in order: (version, text)."""
    folder = files(__package__).joinpath("schema")
    texts = {path.name: path.read_text("utf-8") for path in folder.iterdir() if path.name.endswith(".sql")}
    return [(int(name.split("_")[0]), texts[name]) for name in sorted(texts)]


def _split(text: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for block in text.split(_MARK)[1:]:
        name, _, statement = block.partition("\n")
        pairs.append((name.strip(), statement.strip()))
    return pairs
