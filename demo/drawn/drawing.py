"""The drawing: people and scenes to pictures. Shapes as in ``frame``."""

import torch
from torch import Tensor

from . import backgrounds, clothes, frame, hair, heads, palette, people, scenes, shapes, styles
from .scenes import CLOTHING_COLOURS, Scene
from .styles import SIZE

_MODULES = (backgrounds, clothes, frame, hair, heads, palette, people, scenes, shapes, styles)
SOURCES = (__file__, *(str(module.__file__) for module in _MODULES))
"""The files that a drawing follows from."""

_LENS = 0.7  # pixels by which a photo is blurred, as a lens does


def draw(persons: Tensor, scene: Scene, size: int = SIZE) -> Tensor:
    """Portraits.

    Args:
        persons: ``(N, T)`` of ``TRAITS``, each from [0, 1].
        scene: N of them.
        size: S.

    Returns:
        ``(N, 3, S, S)``, RGB in [0, 1].
    """
    person, jitter, turn, width = frame.head_numbers(persons, scene)
    grid = frame.grid_of(jitter, turn, width, size)
    skin_colour = palette.skin_colour(person)
    hair_colour = palette.hair_colour(person)
    cloth_colour = palette.palette(CLOTHING_COLOURS, scene.colour, 0.04 * scene.jitter[:, 8:11])

    picture = backgrounds.background(grid, scene, jitter)
    picture = hair.hair_behind(picture, grid, person, width, hair_colour)
    picture = clothes.body(picture, grid, person, width, scene, skin_colour, cloth_colour)
    picture = heads.head(picture, grid, person, width, turn, scene, skin_colour)
    picture = heads.beard(picture, grid, person, width, hair_colour)
    picture = heads.eyes(picture, grid, person, turn, scene, skin_colour, hair_colour)
    picture = heads.nose(picture, grid, person, turn, skin_colour)
    picture = heads.mouth(picture, grid, person, scene, jitter[:, 7], skin_colour)
    picture = hair.hair_before(picture, grid, person, width, hair_colour)
    picture = clothes.glasses(picture, grid, person, scene)
    picture = clothes.headwear(picture, grid, person, width, scene)
    shade = 1 + (0.24 * scene.light[:, None, None] + 0.05 * jitter[:, 6]) * grid.across + 0.05 * jitter[:, 5]
    picture = (picture * shade[:, None]).clamp(0, 1)
    return styles.styled(styles.blurred(picture, _LENS * size / SIZE), scene)


def faces(persons: Tensor, scene: Scene, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Where the faces are, brows to chin.

    Args:
        persons, scene, size: as in ``draw``.

    Returns:
        How far out each point of the pictures is, ``(N, S, S)``, 1 on the outline; and the square that CLIP is shown of
        a face, about: left, top, right and bottom as shares of the picture, ``(N, 4)``.
    """
    person, jitter, turn, width = frame.head_numbers(persons, scene)
    grid = frame.grid_of(jitter, turn, width, size)
    outside = torch.maximum(heads.outside(grid, person, width), 1 - 2 * (grid.y + 0.32))
    scale = frame.HEAD * (1 + 0.06 * scene.jitter[:, 2])
    tilt = 0.10 * scene.jitter[:, 3]
    across = 0.05 * scene.jitter[:, 0] - 0.22 * scale * tilt.sin()
    down = 0.04 * scene.jitter[:, 1] - 0.03 + 0.22 * scale * tilt.cos()
    box = torch.stack([across - scale, down - scale, across + scale, down + scale], dim=1)
    return outside, box / 2 + 0.5


def colours(persons: Tensor) -> tuple[Tensor, Tensor]:
    """Of skin and hair, ``(N, 3)`` each, RGB in [0, 1]; before light and shadow."""
    person = frame.traits(persons)
    return palette.skin_colour(person)[:, :, 0, 0], palette.hair_colour(person)[:, :, 0, 0]
