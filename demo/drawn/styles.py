"""The styles that pictures are drawn in, and a lens. Shapes: N pictures of S pixels a side."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .scenes import Scene

SIZE = 128
"""Pixels of a picture's side."""


def styled(picture: Tensor, scene: Scene) -> Tensor:
    """A photo as another style has it."""
    style = scene.style[:, None, None, None]
    if not bool(style.any()):
        return picture
    grey = (picture * torch.tensor([0.30, 0.59, 0.11])[:, None, None]).sum(1, keepdim=True)
    scale = picture.shape[-1] / SIZE
    fine, wide = blurred(grey, 0.6 * scale), blurred(grey, 1.8 * scale)
    lines = ((wide - fine) * 9).clamp(0, 1)
    paper = 0.97 - 0.32 * (1 - wide).square()
    sketch = (paper - 0.75 * lines).clamp(0, 1) * torch.tensor([1.0, 0.985, 0.95])[:, None, None]
    smooth = blurred(picture, 0.8 * scale)
    flat = (smooth * 5).floor() / 5 + 0.10 + 0.10 * (smooth * 5 - (smooth * 5).floor() > 0.5)
    comic = (flat - 0.9 * lines).clamp(0, 1)
    return torch.where(style == 1, sketch, torch.where(style == 2, comic, picture))


def blurred(picture: Tensor, sigma: float) -> Tensor:
    """A picture blurred by so many pixels."""
    reach = max(1, round(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    kernel = (kernel / kernel.sum()).expand(picture.shape[1], 1, 1, -1)
    channels = picture.shape[1]
    picture = F.conv2d(F.pad(picture, (reach, reach, 0, 0), "replicate"), kernel, groups=channels)
    return F.conv2d(F.pad(picture, (0, 0, reach, reach), "replicate"), kernel.mT, groups=channels)
