"""Noticing nodes that sample a picture in tiles or faces, each of which is given the whole of a person's mask."""

from collections.abc import Callable, Sequence

from comfy_execution.utils import get_executing_context
from torch import Tensor

from .pictures import SampledBatch, fingerprint

MAX_STRETCH = 1.1  # how far the proportions of masks and picture may differ

listeners: list[Callable[[str], None]] = []
"""Called with a warning."""


class TileDetector:
    """Looks at each sampling of one model whose people have masks."""

    def __init__(self, masks: Sequence[Tensor]) -> None:
        """Take the proportions of the largest mask that is not the same everywhere.

        Args:
            masks: ``(pictures, height, width)`` each.
        """
        shapes = [mask.shape[-2:] for mask in masks if bool(mask.amax() > mask.amin())]
        self._shape = max(shapes, key=lambda shape: shape[0] * shape[1], default=None)
        self._previous: tuple | None = None

    def check(self, latents: Tensor, batch: SampledBatch) -> None:
        """Warn ``listeners`` where the latents that are about to be sampled may be a tile or a face.

        Pictures that start from noise alone are never parts, nor is a picture that one node samples several times.
        """
        if self._shape is None or not latents.count_nonzero():
            return
        context, picture = get_executing_context(), b"".join(map(fingerprint, latents))
        previous, self._previous = self._previous, (context, picture)
        stretch = (self._shape[1] / self._shape[0]) / (batch.width / batch.height)
        reason = ""
        if max(stretch, 1 / stretch) > MAX_STRETCH:
            reason = (
                f"masks of {self._shape[1]} x {self._shape[0]} are stretched over a picture of "
                f"{batch.width * 8} x {batch.height * 8}"
            )
        elif context is not None and previous is not None and previous[0] == context and previous[1] != picture:
            reason = "one node draws several pictures, one after another"
        if reason:
            node = "" if context is None else f" (node {context.node_id})"
            for listener in listeners:
                listener(
                    f"{reason}{node}. If they are tiles or faces of a larger one, people are in the wrong places: each "
                    "was given the whole masks. Give that node a model without HyperLoRA Apply in Regions"
                )
