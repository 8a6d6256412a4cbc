"""Pictures of the example workflows for the list of templates: what each draws with the demo's models."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from demo.server import ComfyServer
from demo.trained import folders
from hyperlora_core import open_photo

from . import examples
from .studio import Studio, kept_pictures


@dataclass(frozen=True)
class Result:
    """What a workflow was given, and what it drew.

    Attributes:
        photos: that the workflow was given.
        drawn: pictures that it made.
        caption: below the pictures, in small letters.
    """

    photos: Sequence[Image.Image]
    drawn: Sequence[Image.Image]
    caption: str = "drawn by the demo's small models, in a world of drawn people"


def results(names: Sequence[str]) -> dict[str, Result]:
    """What those of the workflows that have an example in the small world draw."""
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base), folders.models()) as server:
        studio = Studio(server, kept_pictures())
        return {
            name: Result([open_photo(path) for path in examples.photos_of(example)], examples.drawn(studio, name))
            for name, example in examples.examples().items()
            if name in names
        }


def thumbnail(title: str, result: Result) -> Image.Image:
    """A template's picture in the list: what it is for, in letters that are read at a small size, and what it draws."""
    canvas = Image.new("RGB", (960, 600), "#161b22")
    draw = ImageDraw.Draw(canvas)
    size = next(size for size in range(80, 20, -2) if draw.textlength(title, font_size=size) <= 880)
    draw.text((40, 64), title, fill="white", font_size=size, anchor="lm")
    draw.text((40, 576), result.caption, fill="#9fb3c4", font_size=26, anchor="lm")
    top, height, edge = 124, 424, 16
    count = min(3, len(result.photos))
    side = (height - edge * (count - 1)) // max(1, count) if count else 0
    for number, photo in enumerate(result.photos[:count]):
        small = ImageOps.fit(photo.convert("RGB"), (min(side, 260),) * 2, Image.Resampling.LANCZOS)
        canvas.paste(
            small, (40, top + (height - count * (small.height + edge) + edge) // 2 + number * (small.height + edge))
        )
    left = 40
    if count:
        left += min(side, 260) + 80
        x, y = left - 40, top + height // 2
        draw.line((x - 22, y, x + 8, y), fill="#9fb3c4", width=6)
        draw.polygon([(x + 4, y - 16), (x + 24, y), (x + 4, y + 16)], fill="#9fb3c4")
    row, room = list(result.drawn[:4]), 960 - 40 - left
    across = 2 if len(row) > 2 else len(row)
    down = -(-len(row) // across)
    cell = ((room - edge * (across - 1)) // across, (height - edge * (down - 1)) // down)
    for number, picture in enumerate(row):
        scaled = ImageOps.contain(picture.convert("RGB"), cell, Image.Resampling.LANCZOS)
        x, y = left + number % across * (cell[0] + edge), top + number // across * (cell[1] + edge)
        canvas.paste(scaled, (x + (cell[0] - scaled.width) // 2, y + (cell[1] - scaled.height) // 2))
    return canvas
