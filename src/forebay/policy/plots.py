"""Plots as SVG text: bars and lines of one or several series, readable without a script or a style sheet. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 36, 64
MOST_POINTS = 2000
MOST_LABELS = 16
_TICKS = 5
_COLOURS = ("#1f6f8b", "#d1603d", "#5a8f3d", "#7b5ea7", "#b8860b", "#4d4d4d")
_FONT = 'font-family="sans-serif" font-size="11"'

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """``labels`` stand below; each series has a value for each of them, or none."""

    title: str
    labels: Sequence[str]
    series: Mapping[str, Values]


def bars(plot: Plot) -> str:
    """Bars from zero, side by side where there are several series. Raises: ValueError: too many, or no numbers."""
    low, high = _range(plot, from_zero=True)
    scale = _Scale(low, high, len(plot.labels))
    width = scale.step * 0.8 / max(len(plot.series), 1)
    marks = []
    for number, (name, values) in enumerate(plot.series.items()):
        for place, value in enumerate(values):
            if value is None:
                continue
            left = scale.middle(place) - scale.step * 0.4 + number * width
            top, bottom = sorted((scale.height(value), scale.height(0.0)))
            told = escape(f"{plot.labels[place]} {name}: {value:g}")
            marks.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}"'
                f' fill="{_colour(number)}"><title>{told}</title></rect>'
            )
    return _drawn(plot, scale, marks)


def lines(plot: Plot) -> str:
    """A line for each series, broken where a value is missing. Raises: ValueError: too many, or no numbers."""
    low, high = _range(plot, from_zero=False)
    scale = _Scale(low, high, len(plot.labels))
    marks = []
    for number, values in enumerate(plot.series.values()):
        piece: list[str] = []
        for place, value in [*enumerate(values), (0, None)]:
            if value is not None:
                piece.append(f"{scale.middle(place):.1f},{scale.height(value):.1f}")
            elif piece:
                marks.append(_line(piece, number))
                piece = []
    return _drawn(plot, scale, marks)


class _Scale:
    """From values to places on the paper."""

    def __init__(self, low: float, high: float, count: int) -> None:
        self.ticks = _ticks(low, high)
        self._low, self._high = self.ticks[0], self.ticks[-1]
        self.step = (WIDTH - LEFT - RIGHT) / max(count, 1)

    def middle(self, place: int) -> float:
        return LEFT + (place + 0.5) * self.step

    def height(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _range(plot: Plot, *, from_zero: bool) -> tuple[float, float]:
    values = [value for series in plot.series.values() for value in series if value is not None]
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError("a plot needs numbers, and has none")
    if len(plot.labels) > MOST_POINTS:
        raise ValueError(f"a plot has at most {MOST_POINTS} points, not {len(plot.labels)}: group them before")
    low, high = min(values), max(values)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    return (low, high) if low < high else (low - 1.0, high + 1.0) if low else (0.0, 1.0)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers that span the range."""
    raw = (high - low) / _TICKS
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _line(points: list[str], number: int) -> str:
    if len(points) == 1:
        x, _, y = points[0].partition(",")
        return f'<circle cx="{x}" cy="{y}" r="2.5" fill="{_colour(number)}"/>'
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{_colour(number)}" stroke-width="2"/>'


def _drawn(plot: Plot, scale: _Scale, marks: list[str]) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' role="img" {_FONT}>',
        f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(plot.title)}</text>',
    ]
    for tick in scale.ticks:
        y = scale.height(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    every = max(1, math.ceil(len(plot.labels) / MOST_LABELS))
    for place in range(0, len(plot.labels), every):
        x, text = scale.middle(place), escape(_short(plot.labels[place]))
        turn = f'transform="rotate(-30 {x:.1f} {bottom + 14})"'
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="end" {turn}>{text}</text>')
    parts += marks
    if len(plot.series) > 1:
        parts += [_key(number, name) for number, name in enumerate(plot.series)]
    return "\n".join([*parts, "</svg>"])


def _key(number: int, name: str) -> str:
    x = WIDTH - RIGHT - 110 * (number % 4 + 1)
    y = 10 + 14 * (number // 4)
    square = f'<rect x="{x}" y="{y}" width="10" height="10" fill="{_colour(number)}"/>'
    return f'{square}<text x="{x + 14}" y="{y + 9}">{escape(_short(name))}</text>'


def _short(text: str) -> str:
    return text if len(text) <= 16 else text[:15] + "…"


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
