"""Sampling from seed to seed until a picture is like enough."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import NoFaceError
from .likeness import Judged


@dataclass(frozen=True, eq=False)
class Attempt:
    """A picture, what it was sampled with, and how like the person it is.

    Attributes:
        judged: its faces and their scores.
        seed: of the batch that it was sampled in.
        strength: of the LoRA.
        latent: ``(1, channels, height / 8, width / 8)``.
        image: ``(1, height, width, 3)``, 0 to 1.
    """

    judged: Judged
    seed: int
    strength: float
    latent: Tensor
    image: Tensor

    @property
    def rank(self) -> float:
        """The score; without a face, below every score."""
        return -2.0 if self.judged.score is None else self.judged.score


def settings(seed: int, seeds: int, strengths: Sequence[float]) -> list[tuple[int, float]]:
    """Seed and strength of each attempt: ``seeds`` seeds from ``seed`` on, each with every strength."""
    return [((seed + step) % (1 << 64), strength) for step in range(seeds) for strength in strengths]


def sample_until_alike(
    attempts: Sequence[tuple[int, float]],
    sample: Callable[[int, float], tuple[Tensor, Tensor]],
    judge: Callable[[Tensor], Sequence[Judged]],
    enough: float,
) -> tuple[list[Attempt], Attempt]:
    """Sample batches until a picture reaches a score.

    Args:
        attempts: seed and strength of each batch, in order.
        sample: called with seed and strength; returns the latents and the images of a batch.
        judge: called with the images; returns a judgement of each.
        enough: the score that ends the search, -1 to 1.

    Returns:
        All pictures in order, and the best of them.

    Raises:
        NoFaceError: no picture has a face.
    """
    pictures: list[Attempt] = []
    for seed, strength in attempts:
        latents, images = sample(seed, strength)
        pictures += [
            Attempt(judged, seed, strength, latent, image)
            for judged, latent, image in zip(judge(images), _single(latents), _single(images), strict=True)
        ]
        best = max(pictures, key=lambda picture: picture.rank)
        if best.rank >= enough:
            break
    if best.judged.score is None:
        raise NoFaceError(
            f"no face was found on any of the {len(pictures)} pictures that were drawn, so none can be the best. "
            "Draw the person larger, from the front, or with a stronger LoRA"
        )
    return pictures, best


def _single(batch: Tensor) -> Iterator[Tensor]:
    """The items of a batch as batches of one."""
    return iter(batch.split(1))
