"""The people that a HyperLoRA is measured on: none of them was seen in training.

Shapes: N people, R photos of each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hyperlora_core.training import counter

from .encoders import EMBED_DIM
from .task import others, uniforms
from .world import BACKGROUNDS, CLOTHINGS, IDENTITY, SCENE_DRAWS, background_of, photos, scenes, without_face

SEED = 20_000_001  # of no run
PHOTOS = 4


@dataclass(frozen=True)
class People:
    """N people.

    Attributes:
        identity: ``(N, 10)``.
        references: ``(N, R, 3, 32, 32)``; the first is the one that most is drawn by.
        faceless: the first, its face greyed, ``(N, 3, 32, 32)``.
        embedding_noise: ``(N, R, 64)``.
        background: what prompts say, another than the first reference's, ``(N,)``.
        clothing: likewise.
        noise: what pictures are drawn from, ``(N, 48, 8, 8)``.
        reference_background: colour in the first reference, ``(N, 3)``.
    """

    identity: Tensor
    references: Tensor
    faceless: Tensor
    embedding_noise: Tensor
    background: Tensor
    clothing: Tensor
    noise: Tensor
    reference_background: Tensor


def people(count: int, seed: int = SEED) -> People:
    """People, by their numbers."""
    numbers = range(count)
    identity = uniforms(seed, numbers, "person", len(IDENTITY))
    scene = scenes(uniforms(seed, numbers, "scene", SCENE_DRAWS))
    first = photos(identity, scene)
    more = others(seed, numbers, identity, PHOTOS - 1)
    return People(
        identity,
        torch.cat([first[:, None], more], dim=1),
        without_face(first, scene),
        counter.normal(seed, numbers, "embedding", (PHOTOS, EMBED_DIM)),
        _another(seed, numbers, "background", scene.background, len(BACKGROUNDS)),
        _another(seed, numbers, "clothing", scene.clothing, len(CLOTHINGS)),
        counter.normal(seed, numbers, "noise", (48, 8, 8)),
        background_of(first),
    )


def _another(seed: int, numbers: range, what: str, index: Tensor, words: int) -> Tensor:
    return (index + 1 + counter.integers(seed, numbers, what, words - 1)) % words
