"""Points over two axes, as SVG and as text."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _MARGIN = 720, 400, 64
_COLOURS = ("#4269d0", "#ff725c", "#6cc5b0", "#efb118", "#a463f2", "#9c6b4e", "#97bbf5")
_COLUMNS, _ROWS = 64, 14  # of a text plot

Points = Sequence[tuple[float, float]]


class _Axis:
    """From values to shares of a length, by their logarithm where asked."""

    def __init__(self, values: Sequence[float], *, log: bool = False) -> None:
        self._log = log
        places = [self._map(value) for value in values]
        self.low, self.high = min(places), max(places)
        if self.high - self.low < 1e-12:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def _map(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def share(self, value: float) -> float:
        """0 at the least value, 1 at the largest."""
        return (self._map(value) - self.low) / (self.high - self.low)

    def ticks(self, count: int = 4) -> list[float]:
        """Values at even distances."""
        places = [self.low + (self.high - self.low) * k / count for k in range(count + 1)]
        return [10**place if self._log else place for place in places]


def _axes(series: Mapping[str, Points], *, log_x: bool) -> tuple[_Axis, _Axis]:
    xs, ys = zip(*(point for points in series.values() for point in points), strict=True)
    return _Axis(xs, log=log_x), _Axis(ys)


def draw_points(
    title: str, labels: tuple[str, str], series: Mapping[str, Points], *, log_x: bool = False, joined: bool = False
) -> str:
    """An SVG.

    Args:
        title: above the drawing.
        labels: of the axes.
        series: name: points (x, y); one at least in all.
        log_x: x by its logarithm.
        joined: with a line through each series.
    """
    x_axis, y_axis = _axes(series, log_x=log_x)

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
        return _MARGIN + across * x_axis.share(x), _HEIGHT - _MARGIN - up * y_axis.share(y)

    bottom = _HEIGHT - _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><title>{escape(title)}</title><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_MARGIN}" y="24" font-size="14">{escape(title)}</text>',
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 16}" text-anchor="middle">{escape(labels[0])}</text>',
        f'<text transform="translate(14 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(labels[1])}</text>',
    ]
    for tick in y_axis.ticks():
        y = place(x_axis.ticks()[0], tick)[1]
        parts.append(f'<path d="M{_MARGIN} {y:.1f}H{_WIDTH - _MARGIN}" stroke="#ddd"/>')
        parts.append(f'<text x="{_MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in x_axis.ticks():
        x = place(tick, y_axis.ticks()[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_short(tick)}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        spots = [place(*point) for point in points]
        if joined:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" fill-opacity="0.8"/>' for x, y in spots]
        at = f'x="{_WIDTH - _MARGIN}" y="{_MARGIN - 24 + 14 * number}"'
        parts.append(f'<text {at} text-anchor="end" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def plot_points(labels: tuple[str, str], points: Points, *, log_x: bool = False) -> str:
    """The same in text: points by their letters, a the first."""
    x_axis, y_axis = _axes({"": points}, log_x=log_x)
    grid = [[" "] * _COLUMNS for _ in range(_ROWS)]
    for number, (x, y) in reversed(list(enumerate(points))):
        column, row = round(x_axis.share(x) * (_COLUMNS - 1)), round((1 - y_axis.share(y)) * (_ROWS - 1))
        grid[row][column] = chr(ord("a") + number % 26)
    ticks = {0: y_axis.ticks()[-1], _ROWS - 1: y_axis.ticks()[0]}
    lines = [f"{ticks[row]:8.4g} |" if row in ticks else f"{'':8} |" for row in range(_ROWS)]
    lines = [head + "".join(cells).rstrip() for head, cells in zip(lines, grid, strict=True)]
    low, high = _short(x_axis.ticks()[0]), _short(x_axis.ticks()[-1])
    foot = f"{'':9}+{'-' * _COLUMNS}\n{'':10}{low}{high:>{_COLUMNS - len(low)}}\n{'':10}{labels[1]}, over {labels[0]}"
    return "\n".join([*lines, foot])


def _short(value: float) -> str:
    """A number in few letters: 1.2M."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"
