"""The studies: each draws pictures through the example workflows and gives rows of a table."""

from collections.abc import Callable, Mapping

from . import alone, together
from .rows import Row
from .studio import Studio

STUDIES: Mapping[str, Callable[[Studio], list[Row]]] = {
    "identity": alone.identity,
    "full": alone.full,
    "several photos": alone.several_photos,
    "strength": alone.strength,
    "schedule": alone.schedule,
    "slider": together.slider,
    "blend": together.blend,
    "one person a picture": together.per_picture,
    "regions": together.regions,
    "refine": together.refine,
    "until alike": together.until_alike,
}
"""All of them, in the table's order."""
