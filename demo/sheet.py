"""A photo and the portraits that were made of it, side by side in one picture."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

SIDE = 384
_EDGE, _LINE = 16, 20
_LETTER = 7.4  # pixels that one is wide, about
_PAPER, _INK = "#f7f5f0", "#24292f"


@dataclass(frozen=True)
class Panel:
    """One of the pictures.

    Attributes:
        picture: RGB.
        captions: texts below it, each begun on a line of its own.
    """

    picture: Image.Image
    captions: Sequence[str]


def sheet(title: str, panels: Sequence[Panel], side: int = SIDE) -> Image.Image:
    """All panels in a row, at one height, with a title above.

    Args:
        title: one line.
        panels: from left to right.
        side: pixels that each picture is high, and wide where it is no wider than high.
    """
    widths = [max(side, round(side * panel.picture.width / panel.picture.height)) for panel in panels]
    texts = [
        [line for text in panel.captions for line in textwrap.wrap(text, int(width / _LETTER))]
        for panel, width in zip(panels, widths, strict=True)
    ]
    total_width = _EDGE + sum(width + _EDGE for width in widths)
    below = _EDGE + _LINE * max(map(len, texts))
    canvas = Image.new("RGB", (total_width, 3 * _EDGE + _LINE + side + below), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_EDGE, _EDGE), title, fill=_INK, font_size=20)
    top, left = 2 * _EDGE + _LINE, _EDGE
    for panel, width, lines in zip(panels, widths, texts, strict=True):
        canvas.paste(ImageOps.pad(panel.picture, (width, side), Image.Resampling.LANCZOS, _PAPER), (left, top))
        for line, text in enumerate(lines):
            draw.text((left, top + side + _EDGE // 2 + line * _LINE), text, fill=_INK, font_size=15)
        left += width + _EDGE
    return canvas
