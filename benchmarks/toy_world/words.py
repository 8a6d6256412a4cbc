"""Words: what a prompt says of a picture, a token a word, at a place of its own.

Shapes: N prompts, 15 tokens each: the trigger words, background, clothing, light, pose, and a word for each of the ten
identity parameters in five steps, as SDXL knows "wide-set eyes". A word that is not said is padding.
"""

import math

import torch
from torch import Tensor

from .world import BACKGROUNDS, CLOTHINGS, IDENTITY, Scene

LEVELS = 5
PADDING, TRIGGER = 0, 1
_SIDES = 3  # light from the left, from the front, from the right; a head tilted likewise
_SIZES = (1, len(BACKGROUNDS), len(CLOTHINGS), _SIDES, _SIDES, *[LEVELS] * len(IDENTITY))
_FIRST = torch.tensor([TRIGGER + sum(_SIZES[:i]) for i in range(len(_SIZES))])
TOKENS = len(_SIZES)
VOCABULARY = TRIGGER + sum(_SIZES)
_BACKGROUND, _CLOTHING, _PERSON = 1, 2, 5


def captions(identity: Tensor, scene: Scene, said: Tensor) -> Tensor:
    """What a picture shows.

    Args:
        identity: ``(N, 10)``.
        scene: of each.
        said: ``(N, 15)``, bool: which words; the others are padding.

    Returns:
        ``(N, 15)`` int64.
    """
    words = torch.cat(
        [
            torch.zeros_like(scene.background)[:, None],
            scene.background[:, None],
            scene.clothing[:, None],
            _steps(scene.light / 2 + 0.5, _SIDES)[:, None],
            _steps(scene.angle / math.radians(16) + 0.5, _SIDES)[:, None],
            _steps(identity, LEVELS),
        ],
        dim=1,
    )
    return torch.where(said, words + _FIRST, PADDING)


def prompts(background: Tensor, clothing: Tensor, said: Tensor, trigger: Tensor) -> Tensor:
    """What a HyperLoRA is drawn with: nothing of the person.

    Args:
        background: ``(N,)`` indices.
        clothing: ``(N,)`` indices.
        said: ``(N,)``, bool: whether both are said.
        trigger: ``(N,)``, bool: whether the trigger words are said.

    Returns:
        ``(N, 15)`` int64.
    """
    words = torch.full((len(background), TOKENS), PADDING)
    words[:, 0] = torch.where(trigger, TRIGGER, PADDING)
    words[:, _BACKGROUND] = torch.where(said, background + _FIRST[_BACKGROUND], PADDING)
    words[:, _CLOTHING] = torch.where(said, clothing + _FIRST[_CLOTHING], PADDING)
    return words


def said_at_random(count: int, generator: torch.Generator) -> Tensor:
    """For the base's training: each word half the time, now and then none, the trigger words seldom and without sense.

    Returns:
        ``(count, 15)``, bool.
    """
    said = torch.rand(count, TOKENS, generator=generator) < 0.5
    said &= torch.rand(count, 1, generator=generator) > 0.1
    said[:, 0] = torch.rand(count, generator=generator) < 0.1
    return said


def person_only(count: int) -> Tensor:
    """``said`` of a caption that tells all of the person and nothing else: ``(count, 15)``, bool."""
    return (torch.arange(TOKENS) >= _PERSON).expand(count, -1)


def middles(identity: Tensor) -> Tensor:
    """What the words of identities say, as numbers: the middle of each step, ``(N, 10)``."""
    return (_steps(identity, LEVELS) + 0.5) / LEVELS


def _steps(values: Tensor, steps: int) -> Tensor:
    return (values * steps).long().clamp(0, steps - 1)
