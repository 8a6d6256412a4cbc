"""A photo and the portraits that were made of it, side by side in one picture."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

_SIDE, _EDGE, _LINE = 384, 16, 20
_PAPER, _INK = "#f7f5f0", "#24292f"


@dataclass(frozen=True)
class Panel:
    """One of the pictures.

    Attributes:
        picture: RGB.
        said: below it, in lines of its own.
    """

    picture: Image.Image
    said: Sequence[str]


def sheet(title: str, panels: Sequence[Panel]) -> Image.Image:
    """All panels in a row, each as large as the others, with a title above.

    Args:
        title: one line.
        panels: from left to right.
    """
    texts = [[line for text in panel.said for line in textwrap.wrap(text, 52)] for panel in panels]
    width = _EDGE + len(panels) * (_SIDE + _EDGE)
    below = _EDGE + _LINE * max(map(len, texts))
    made = Image.new("RGB", (width, 3 * _EDGE + _LINE + _SIDE + below), _PAPER)
    draw = ImageDraw.Draw(made)
    draw.text((_EDGE, _EDGE), title, fill=_INK, font_size=20)
    top = 2 * _EDGE + _LINE
    for number, (panel, lines) in enumerate(zip(panels, texts, strict=True)):
        left = _EDGE + number * (_SIDE + _EDGE)
        shown = ImageOps.pad(panel.picture, (_SIDE, _SIDE), Image.Resampling.LANCZOS, _PAPER)
        made.paste(shown, (left, top))
        for line, text in enumerate(lines):
            draw.text((left, top + _SIDE + _EDGE // 2 + line * _LINE), text, fill=_INK, font_size=15)
    return made
