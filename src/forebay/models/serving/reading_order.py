"""From the places of words on a page to its text, as it is read: row by row, left to right. Pure."""

from collections.abc import Sequence
from statistics import median

import msgspec


class Line(msgspec.Struct, kw_only=True):
    """A run of text, how sure the model is of it (0 to 1), and the four corners of its place in pixels, from its top
    left on clockwise.
    """

    text: str
    confidence: float
    box: list[list[float]]

    @property
    def slope(self) -> float:
        """How far the text falls with each pixel to the right."""
        (left, top), (right, fallen) = self.box[0], self.box[1]
        return (fallen - top) / (right - left) if right > left else 0.0

    @property
    def height(self) -> float:
        return abs(self.box[3][1] - self.box[0][1])

    @property
    def left(self) -> float:
        return min(x for x, _ in self.box)

    def level(self, slope: float) -> float:
        """Where its middle stood if the page were held straight."""
        across = sum(x for x, _ in self.box) / len(self.box)
        return sum(y for _, y in self.box) / len(self.box) - slope * across


def text_of(lines: Sequence[Line]) -> str:
    """Joins what stands in one row with two spaces, and the rows with line breaks. A page may be tilted."""
    if not lines:
        return ""
    slope = median(line.slope for line in lines)
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.level(slope)):
        if rows and line.level(slope) - rows[-1][0].level(slope) < rows[-1][0].height / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    return "\n".join("  ".join(line.text for line in sorted(row, key=lambda line: line.left)) for row in rows)
