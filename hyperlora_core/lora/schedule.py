"""Strengths that change while a picture is sampled: from a start to an end, along a curve."""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from ..errors import HyperLoRAError, shortened


def _smooth(x: float) -> float:
    return (1 - math.cos(math.pi * x)) / 2


CURVES: dict[str, Callable[[float], float]] = {
    "constant": lambda x: 1.0,
    "rise": lambda x: x,
    "rise, ease in": lambda x: x * x,
    "rise, ease out": lambda x: 1 - (1 - x) ** 2,
    "rise, ease in and out": _smooth,
    "fall": lambda x: 1 - x,
    "fall, ease in": lambda x: 1 - x * x,
    "fall, ease out": lambda x: (1 - x) ** 2,
    "fall, ease in and out": lambda x: 1 - _smooth(x),
    "rise and fall": lambda x: math.sin(math.pi * x) ** 2,
}
"""What a preset is at a share of the way from start to end."""


@dataclass(frozen=True)
class Schedule:
    """A factor for a LoRA's strength, by how far sampling is.

    How far is in ComfyUI's percents: a share of the noise schedule, 0 at its noisy end, 1 where there is no noise left,
    whatever steps a sampler takes through it.

    Attributes:
        points: percent and factor, in order of percent; between them the factor changes evenly. Two points at one
            percent are a jump there, to the later of them.
        start: percent before which the factor is 0.
        end: percent from which it is 0; 1 is to the last step.
    """

    points: tuple[tuple[float, float], ...]
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        numbers = [number for point in self.points for number in point]
        if not self.points or not all(map(math.isfinite, numbers)):
            raise HyperLoRAError(f"a schedule needs points of two numbers each, not {self.points!r}")
        if not 0 <= self.start < self.end <= 1:
            raise HyperLoRAError(
                f"the schedule starts at {self.start:g} and ends at {self.end:g}: it has to start before it ends, and "
                "both are from 0 to 1"
            )
        percents = [percent for percent, _ in self.points]
        if min(percents) < 0 or max(percents) > 1 or percents != sorted(percents):
            raise HyperLoRAError(
                f"the schedule's points stand at {', '.join(f'{percent:g}' for percent in percents)}: they have to be "
                "in order, from 0 to 1"
            )

    @classmethod
    def preset(cls, name: str, start: float = 0.0, end: float = 1.0, pieces: int = 24) -> "Schedule":
        """A curve of ``CURVES`` between start and end, as points.

        Args:
            name: of the curve.
            start: percent at which it starts.
            end: percent at which it ends.
            pieces: how many straight pieces it is made of.

        Raises:
            HyperLoRAError: there is no such curve, or start and end are out of order.
        """
        if name not in CURVES:
            raise HyperLoRAError(f"there is no curve {name!r}; there are {', '.join(CURVES)}")
        shares = [i / pieces for i in range(pieces + 1)]
        return cls(tuple((start + share * (end - start), CURVES[name](share)) for share in shares), start, end)

    @classmethod
    def parse(cls, text: str, start: float = 0.0, end: float = 1.0) -> "Schedule":
        """Read points such as ``0: 0, 0.3: 1, 1: 0.5``; each on a line, or with commas between.

        Raises:
            HyperLoRAError: one cannot be read, or they are out of order.
        """
        points = []
        for part in filter(None, (part.strip() for part in text.replace("\n", ",").split(","))):
            percent, _, factor = part.replace("=", ":").partition(":")
            try:
                points.append((float(percent), float(factor)))
            except ValueError as error:
                raise HyperLoRAError(
                    f"the point {shortened(part)} cannot be read: a percent and a strength were expected, as '0.3: 1'"
                ) from error
        return cls(tuple(points), start, end)

    def at(self, percent: float) -> float:
        """The factor at a percent."""
        if percent < self.start or percent >= self.end < 1:
            return 0.0
        after = bisect_right(self.points, percent, key=lambda point: point[0])
        if after == 0 or after == len(self.points):
            return self.points[min(after, len(self.points) - 1)][1]
        (left, low), (right, high) = self.points[after - 1 : after + 1]
        return low + (high - low) * (percent - left) / (right - left)

    @property
    def mean(self) -> float:
        """The factor's mean over all percents, which a LoRA that cannot change in time may have in its place."""
        inner = {percent for percent, _ in self.points if self.start < percent < self.end}
        total = 0.0
        for left, right in pairwise(sorted({self.start, self.end} | inner)):
            low, high = self.at(left), self.at(math.nextafter(right, left))
            total += (right - left) * (low + high) / 2
        return total

    def keyframes(self, count: int = 16) -> list[tuple[float, float]]:
        """Percents and the factors that hold from there, for what can only change in steps.

        Args:
            count: steps for a factor that changes between start and end; each has the factor of its middle.

        Returns:
            At least one, the first at percent 0.
        """
        edges = [self.start + (self.end - self.start) * i / count for i in range(count + 1)]
        frames = [(left, self.at((left + right) / 2)) for left, right in pairwise(edges)]
        if self.start > 0:
            frames.insert(0, (0.0, 0.0))
        if self.end < 1:
            frames.append((self.end, 0.0))
        return [frame for i, frame in enumerate(frames) if i == 0 or frame[1] != frames[i - 1][1]]
