"""What is put in: random face embeddings and CLIP tokens of the released sizes."""

import torch
from torch import Tensor


def tokens(photos: int) -> tuple[Tensor, Tensor]:
    """Face embeddings ``(photos, 512)`` of unit length, and CLIP tokens ``(photos, 257, 1024)``."""
    generator = torch.Generator().manual_seed(0)
    embeds = torch.nn.functional.normalize(torch.randn(photos, 512, generator=generator), dim=-1)
    return embeds, torch.randn(photos, 257, 1024, generator=generator)
