"""The square of a picture that a sample is drawn as: cut at random, and always around the face."""

from dataclasses import dataclass

import torch

_ROOM = 1.25
"""The smallest cut's side over the face box's: hair and chin stay in it."""


@dataclass(frozen=True)
class Frame:
    """A square cut, pixels of the picture.

    Attributes:
        left, top: its corner.
        side: of it.
    """

    left: int
    top: int
    side: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """As PIL's ``crop`` takes it."""
        return (self.left, self.top, self.left + self.side, self.top + self.side)

    def within(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Where a box of the picture lies in the cut: left, top, right and bottom as shares of its side."""
        left, top, right, bottom = box
        return (
            (left - self.left) / self.side,
            (top - self.top) / self.side,
            (right - self.left) / self.side,
            (bottom - self.top) / self.side,
        )

    def size_condition(self, width: int, height: int, resolution: int) -> tuple[int, ...]:
        """What SDXL is told of the cut.

        Args:
            width, height: of the picture.
            resolution: side of the target that the cut is resized to.

        Returns:
            The picture's height and width, the cut's top and left in pixels of the target, the target's height and
            width. Source: SDXL, arXiv 2307.01952, section 2.2.
        """
        scale = resolution / self.side
        return (height, width, round(self.top * scale), round(self.left * scale), resolution, resolution)


def draw_frame(
    width: int, height: int, box: tuple[float, float, float, float], numbers: torch.Generator, least: float
) -> Frame:
    """Draw a cut that holds the face.

    Args:
        width, height: of the picture.
        box: the face's left, top, right and bottom; what is outside of the picture does not count.
        numbers: where the random numbers come from.
        least: the smallest side of a cut over the picture's shorter side, unless the face needs more.

    Returns:
        Where the face's box is larger than any square of the picture, the largest square about its middle.
    """
    side_share, x_share, y_share = torch.rand(3, generator=numbers, dtype=torch.float64).tolist()
    longest = min(width, height)
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    shortest = min(longest, max(least * longest, _ROOM * max(right - left, bottom - top)))
    side = round(shortest + side_share * (longest - shortest))
    return Frame(_place(left, right, width, side, x_share), _place(top, bottom, height, side, y_share), side)


def _place(low: float, high: float, length: int, side: int, share: float) -> int:
    """A place for ``side`` along ``length`` such that it holds ``low`` to ``high``, as far as it can."""
    first, last = max(0.0, high - side), min(float(length - side), low)
    if first > last:
        first = last = min(max((low + high - side) / 2, 0.0), float(length - side))
    return round(first + share * (last - first))
