"""The dialect of a CSV file, told from its header alone: what stands below may be malformed."""

import csv

from forebay.domain.errors import RequestError

DELIMITERS = ",;\t|"
LONGEST_FIELD = 2**31 - 1  # characters; the csv module's own bound of 131,072 is less than a document


def delimiter_of(header: str) -> str:
    """The first of the usual delimiters that stands in the header outside of quotes; a comma if there is none."""
    outside = "".join(header.split('"')[::2])
    return next((mark for mark in DELIMITERS if mark in outside), ",")


def named_columns(fields: list[str]) -> tuple[str, ...]:
    """The columns of a header; those without a name are called by their place. Raises: RequestError."""
    names = [field or f"column{place}" for place, field in enumerate(fields)]
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise RequestError(f"two columns are named {name!r}")
        seen.add(name.lower())
    return tuple(names)


def header_fields(lines: list[str], delimiter: str, quote: str) -> list[str]:
    """The fields of the first record among the lines. Raises: RequestError."""
    csv.field_size_limit(LONGEST_FIELD)
    try:
        return next(csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True), [])
    except csv.Error as exc:
        raise RequestError(f"the header can't be read: {exc}") from exc
