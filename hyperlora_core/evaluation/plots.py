"""Drawings of a report, as SVG: means with their intervals, and frontiers of sweeps."""

from collections.abc import Mapping, Sequence

from ..html_page import text

_COLOURS = ("#1a8f6b", "#d55e00", "#4b6fd6", "#b0478f", "#8a7a1c", "#5a8fa8", "#a0522d", "#7a5fc0", "#5f6b6d")
_DASHES = ("", "7 4", "2 3", "10 3 2 3")
_WIDTH, _LEFT, _LINE, _FOOT = 380, 168, 24, 18
_SIDE, _MARGIN = 260, 40


def dots(title: str, points: Sequence[tuple[str, float, float | None, float | None]]) -> str:
    """A line for each name: its mean, and the interval that holds it.

    Args:
        title: for readers of screens.
        points: name, mean, and both ends of the interval where there is one.
    """
    ends = [value for _, mean, least, most in points for value in (mean, least, most) if value is not None]
    low, high = _range(ends)

    def across(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - 12)

    height = _LINE * len(points)
    drawn = [f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{height}" y2="{height}" stroke="var(--line)"/>']
    for place, (name, mean, least, most) in enumerate(points):
        y, colour = place * _LINE + _LINE / 2, _COLOURS[place % len(_COLOURS)]
        drawn.append(f'<text x="0" y="{y + 4:.1f}">{text(_short(name, 27))}</text>')
        if least is not None and most is not None:
            drawn.append(
                f'<line x1="{across(least):.1f}" x2="{across(most):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
                'stroke-width="3" stroke-linecap="round" opacity="0.45"/>'
            )
        drawn.append(f'<circle cx="{across(mean):.1f}" cy="{y}" r="4.5" fill="{colour}"/>')
    for value, anchor in ((low, "start"), (high, "end")):
        drawn.append(f'<text x="{across(value):.1f}" y="{height + 13}" text-anchor="{anchor}">{value:.3g}</text>')
    return _svg(title, _WIDTH, height + _FOOT, drawn)


def frontier(
    title: str, across_title: str, up_title: str, curves: Mapping[str, Sequence[tuple[float, float, str]]]
) -> str:
    """A curve for each name, through its points in their order.

    Args:
        title: for readers of screens.
        across_title, up_title: of the axes.
        curves: name -> points: across, up, and what is written beside.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return '<p class="dim">Nothing was measured.</p>'
    least, most = _range([across for across, _, _ in points])
    low, high = _range([up for _, up, _ in points])

    def place_of(point: tuple[float, float, str]) -> tuple[float, float]:
        x = _MARGIN + (point[0] - least) / (most - least) * (_WIDTH - _MARGIN - 20)
        y = _SIDE - (point[1] - low) / (high - low) * (_SIDE - 20)
        return x, y

    drawn = [
        f'<path d="M{_MARGIN} 0V{_SIDE}H{_WIDTH}" fill="none" stroke="var(--line)"/>',
        f'<text x="{_WIDTH}" y="{_SIDE + 14}" text-anchor="end">{text(across_title)} {most:.3g}</text>',
        f'<text x="{_MARGIN}" y="{_SIDE + 14}">{least:.3g}</text>',
        f'<text x="0" y="{_SIDE}">{low:.3g}</text><text x="0" y="10">{high:.3g}</text>',
        f'<text x="{_MARGIN + 4}" y="10">{text(up_title)}</text>',
    ]
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [place_of(point) for point in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dashes = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{_DASHES[number % len(_DASHES)]}"'
        drawn.append(f'<polyline points="{line}" fill="none" {dashes}/>')
        for (x, y), point in zip(places, curve, strict=True):
            drawn.append(_mark(number, x, y))
            drawn.append(f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{text(point[2])}</text>')
        y = _SIDE + 30 + number * 16
        drawn.append(f'<path d="M{_MARGIN} {y - 4}h28" {dashes}/>{_mark(number, _MARGIN + 14, y - 4)}')
        drawn.append(f'<text x="{_MARGIN + 36}" y="{y}">{text(_short(name, 44))}</text>')
    return _svg(title, _WIDTH, _SIDE + 24 + 16 * len(curves), drawn)


def _mark(number: int, x: float, y: float) -> str:
    """The point of a curve: circle, square, triangle, diamond, so that colours are not all that tells curves apart."""
    shapes = ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "M-4-4h8v8h-8z", "M0-5L5 4H-5z", "M0-5.5L5.5 0 0 5.5-5.5 0z")
    colour = _COLOURS[number % len(_COLOURS)]
    return f'<path d="{shapes[number % len(shapes)]}" transform="translate({x:.1f} {y:.1f})" fill="{colour}"/>'


def _range(numbers: Sequence[float]) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    spare = max(0.08 * (high - low), 0.005)
    return low - spare, high + spare


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _svg(title: str, width: float, height: float, drawn: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(title)}">{"".join(drawn)}</svg>'
