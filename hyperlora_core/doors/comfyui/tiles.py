"""Seeing that a node draws a picture in parts, each of which is given the whole of a person's mask."""

from collections.abc import Callable, Sequence

from comfy_execution.utils import get_executing_context
from torch import Tensor

from .pictures import Sampled, fingerprint

MOST = 1.1  # how much longer or wider a mask may be than the picture that it lies over

listeners: list[Callable[[str], None]] = []


class Watch:
    """Watches the samplings of one model with people in regions."""

    def __init__(self, masks: Sequence[Tensor]) -> None:
        """Watch.

        Args:
            masks: ``(pictures, height, width)`` each.
        """
        shapes = [mask.shape[-2:] for mask in masks if bool(mask.amax() > mask.amin())]
        self._shape = max(shapes, key=lambda shape: shape[0] * shape[1], default=None)
        self._last: tuple | None = None

    def see(self, latents: Tensor, sampled: Sampled) -> None:
        """Look at what is about to be sampled, and tell ``listeners`` where it may be a tile or a face.

        Pictures that are begun are whole, and so is one that a node draws several times.
        """
        if self._shape is None or not latents.count_nonzero():
            return
        context, picture = get_executing_context(), b"".join(map(fingerprint, latents))
        last, self._last = self._last, (context, picture)
        stretched = (self._shape[1] / self._shape[0]) / (sampled.width / sampled.height)
        why = ""
        if max(stretched, 1 / stretched) > MOST:
            why = (
                f"masks of {self._shape[1]} x {self._shape[0]} are stretched over a picture of "
                f"{sampled.width * 8} x {sampled.height * 8}"
            )
        elif context is not None and last is not None and last[0] == context and last[1] != picture:
            why = "one node draws several pictures, one after another"
        if why:
            which = "" if context is None else f" (node {context.node_id})"
            for listener in listeners:
                listener(
                    f"{why}{which}. If they are tiles or faces of a larger one, people are in the wrong places: each "
                    "was given the whole masks. Give that node a model without HyperLoRA Apply in Regions"
                )
