"""The shape of a HyperLoRA that is to be trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import HyperLoRAError
from ..network.config import HEAD_DIM, ROWS_PER_MODULE, AttentionModule, HyperLoRAConfig, ResamplerConfig


@dataclass(frozen=True)
class NetworkShape:
    """What the UNet does not settle; the defaults are the released weights'.

    Attributes:
        bases: K, matrices in each basis.
        id_rank, base_rank: ranks of the two LoRAs; ``base_rank`` 0 leaves the Base parts out.
        dim: width of the resamplers' queries.
        heads, head_dim: of their attentions.
        depth: their blocks.
        ff_mult: width of their feed-forward over ``dim``.
        id_tokens: tokens made of one face embedding.
        id_embed_dim: width of the face embedding.
        clip_width: width of CLIP's tokens; the ID tokens are as wide.
    """

    bases: int = 128
    id_rank: int = 8
    base_rank: int = 4
    dim: int = 1024
    heads: int = 12
    head_dim: int = HEAD_DIM
    depth: int = 4
    ff_mult: int = 4
    id_tokens: int = 16
    id_embed_dim: int = 512
    clip_width: int = 1024

    def config(self, modules: Sequence[AttentionModule]) -> HyperLoRAConfig:
        """The network's configuration for a UNet with these attentions.

        Raises:
            HyperLoRAError: a number is below 1.
        """
        for name, value in vars(self).items():
            if value < (name != "base_rank"):
                raise HyperLoRAError(f"{name} is {value}: a number of 1 or more was expected")

        def resampler(conditions: tuple[int, ...]) -> ResamplerConfig:
            queries = ROWS_PER_MODULE * len(modules)
            return ResamplerConfig(
                queries, self.dim, self.depth, self.heads, self.ff_mult, conditions, self.bases, self.head_dim
            )

        return HyperLoRAConfig(
            modules=tuple(modules),
            id_resampler=resampler((self.clip_width, self.clip_width)),
            base_resampler=resampler((self.clip_width,)) if self.base_rank else None,
            id_rank=self.id_rank,
            base_rank=self.base_rank or None,
            id_embed_dim=self.id_embed_dim,
            id_tokens=self.id_tokens,
            token_width=self.clip_width,
            clip_width=self.clip_width,
        )
