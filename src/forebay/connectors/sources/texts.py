"""Text files as one table: a record for each line. A line that is no text is rejected, and the rest is read."""

import codecs
from pathlib import Path

import msgspec

from forebay.connectors.json_lines import LONGEST_LINE_BYTES
from forebay.connectors.sources.found import Found
from forebay.connectors.sources.rejects import Reject
from forebay.connectors.workplace import Workplace

MARK = codecs.BOM_UTF8


def write_lines(files: list[Found], target: Path, place: Workplace) -> list[Reject]:
    """Writes a JSON object {text} for each line, and returns the lines that are left out."""
    rejects: list[Reject] = []
    with target.open("wb") as out:
        for found in files:
            place.stopper.check()
            with found.path.open("rb") as source:
                for number, line in enumerate(source, start=1):
                    stripped = line.removesuffix(b"\n").removesuffix(b"\r")
                    text = decoded(stripped.removeprefix(MARK) if number == 1 else stripped)
                    if text is None or len(stripped) > LONGEST_LINE_BYTES // 2:
                        message = "it is not UTF-8" if text is None else "it is too long"
                        shown = stripped[:1000].decode(errors="replace")
                        rejects.append(Reject(path=found.shown, line=number, text=shown, message=message))
                    else:
                        out.write(msgspec.json.encode({"text": text}) + b"\n")
    return rejects


def decoded(data: bytes, encoding: str = "utf-8") -> str | None:
    """The bytes as text; None: they are none. Raises: LookupError: there is no such encoding."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
