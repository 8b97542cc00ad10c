"""From the places of words on a page to its text, as it is read: row by row, left to right. Pure."""

from collections.abc import Sequence

import msgspec


class Line(msgspec.Struct, kw_only=True):
    """A run of text, the four corners of its place in pixels, and how sure the model is of it, 0 to 1."""

    text: str
    confidence: float
    box: list[list[float]]

    @property
    def top(self) -> float:
        return min(y for _, y in self.box)

    @property
    def bottom(self) -> float:
        return max(y for _, y in self.box)

    @property
    def left(self) -> float:
        return min(x for x, _ in self.box)

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def text_of(lines: Sequence[Line]) -> str:
    """Joins what stands in one row with two spaces, and the rows with line breaks."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.middle):
        if rows and rows[-1][0].top <= line.middle <= rows[-1][0].bottom:
            rows[-1].append(line)
        else:
            rows.append([line])
    return "\n".join("  ".join(line.text for line in sorted(row, key=lambda line: line.left)) for row in rows)
