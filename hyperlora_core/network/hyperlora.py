"""HyperLoRA: face embeddings and CLIP tokens in, the weights of a LoRA out.

Shapes: refs photos of one person, M attention modules, 8 M rows of coefficients, K coefficients a row.
Source: HyperLoRA, arXiv 2503.16944.
"""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import ops
from ..errors import HyperLoRAError
from ..files import stamp
from ..files.encoders import UNKNOWN
from ..lora.value import LoRA
from .bases import Bases
from .checkpoint import read_checkpoint
from .config import LORA_SCALE, ROWS_PER_MODULE, HyperLoRAConfig, ResamplerConfig, Source
from .resampler import Resampler
from .rows import mean_of_photos, unit


class IDProjector(nn.Sequential):
    """A face embedding to tokens: ``(B, id_embed_dim) -> (B, tokens, width)``. Positions are the files' names."""

    def __init__(
        self, embed_dim: int, tokens: int, width: int, operations: Any, device: torch.device | str | None
    ) -> None:
        super().__init__(
            operations.Linear(embed_dim, tokens * width, device=device),
            nn.Unflatten(-1, (tokens, width)),
            operations.LayerNorm(width, device=device),
        )


class HyperLoRA(nn.Module):
    """The hypernetwork.

    Weights keep the type they have in the file and are cast where they are used; rows come out in float32.

    Args:
        config: shapes of the network.
        operations: classes for the leaves with weights (``Linear``, ``LayerNorm``, ``Learned``, ``Basis``).
        device: where the weights are made; ``meta`` for weights that are assigned later.

    Attributes:
        config: the shapes it was built with.
        compute_device: where inputs are moved to.
        compute_dtype: the type computed in.
        source: name and fingerprint of the checkpoint, once loaded.
        encoders: what the checkpoint was trained with, as far as it says.
        before_use: called with each part that is about to compute, by which a host moves its weights.
    """

    def __init__(
        self, config: HyperLoRAConfig, operations: Any = ops, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.compute_device = torch.device("cpu")
        self.compute_dtype = torch.float32
        self.source = Source()
        self.encoders = UNKNOWN
        self.before_use: Callable[[nn.Module], None] = lambda part: None
        self._content: Hashable = object()
        size = config.basis_size
        if config.id_embed_dim is not None:
            self.id_projector = IDProjector(
                config.id_embed_dim, config.id_tokens, config.token_width, operations, device
            )
        self.resampler = Resampler(config.id_resampler, operations, device)
        self.id_bases = Bases(config.modules, size, config.id_rank, operations, device)
        if config.base_resampler is not None and config.base_rank is not None:
            self.base_resampler = Resampler(config.base_resampler, operations, device)
            self.base_bases = Bases(config.modules, config.base_resampler.out_dim, config.base_rank, operations, device)

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        operations: Any = ops,
    ) -> "HyperLoRA":
        """Load a checkpoint.

        Args:
            path: the checkpoint's folder or file, see ``network.checkpoint``.
            device: where weights are put and computed with; on ``cpu`` they stay mapped from the file.
            dtype: the type computed in. Storage stays as it is in the file.
            operations: classes for the leaves with weights.

        Raises:
            HyperLoRAError: a file or tensor is missing, broken, or does not fit the others.
        """
        checkpoint = read_checkpoint(path)
        model = cls(checkpoint.config, operations, device="meta")
        model.load_state_dict(checkpoint.state_dict(model.shapes()), assign=True)
        model.source = checkpoint.source
        model.encoders = checkpoint.encoders
        model._content = (checkpoint.fingerprint, stamp(sorted(file.path for file in checkpoint.files)))
        model.compute_device, model.compute_dtype = torch.device(device), dtype
        return model.requires_grad_(False).eval().to(device)

    @property
    def cache_key(self) -> Hashable:
        """What its results depend on, beside its inputs; its weights are taken to be as they were loaded."""
        return (self._content, str(self.compute_device), self.compute_dtype)

    @property
    def attentions(self) -> tuple[str, ...]:
        """Canonical names of the attentions that its LoRAs change, in the order of their rows."""
        return tuple(module.name for module in self.config.modules)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor that it is made of."""
        return {name: tuple(tensor.shape) for name, tensor in self.state_dict().items()}

    def id_rows(self, id_embeds: Tensor | None = None, clip_tokens: Tensor | None = None) -> Tensor:
        """Rows of the ID-LoRA for each photo, before the mean and the scaling.

        Args:
            id_embeds: ``(refs, 512)``, unit length; needed unless the checkpoint knows CLIP alone.
            clip_tokens: ``(refs, tokens, width)``; needed unless the checkpoint knows the face embedding alone.

        Returns:
            ``(refs, 8 M, K)`` float32.

        Raises:
            HyperLoRAError: an input is missing or of another shape than the checkpoint was made for.
        """
        conditions = []
        if self.config.id_embed_dim is not None:
            embeds = self._input("face embeddings", id_embeds, 2, self.config.id_embed_dim)
            self.before_use(self.id_projector)
            conditions.append(self.id_projector(embeds))
        if self.config.reads_clip:
            conditions.append(self._input("CLIP tokens", clip_tokens, 3, self.config.id_resampler.condition_dims[-1]))
        if len({len(condition) for condition in conditions}) > 1:
            raise HyperLoRAError(
                f"{len(conditions[0])} face embeddings and CLIP tokens of {len(conditions[1])} photos were given; "
                "each photo needs one of both"
            )
        self.before_use(self.resampler)
        return self.resampler(conditions).float()

    def base_rows(self, clip_tokens: Tensor | None) -> Tensor:
        """Rows of the Base-LoRA for each photo, before the mean and the scaling.

        Args:
            clip_tokens: ``(refs, tokens, width)`` of the photos with the face blurred.

        Returns:
            ``(refs, 8 M, K)`` float32.

        Raises:
            HyperLoRAError: the checkpoint has no Base parts, or the tokens do not fit it.
        """
        base = self.need_base()
        self.before_use(self.base_resampler)
        return self.base_resampler([self._input("CLIP tokens", clip_tokens, 3, base.condition_dims[0])]).float()

    @staticmethod
    def mix(rows: Tensor, weights: Tensor | None = None) -> Tensor:
        """Coefficients of one person out of their photos' rows: the (weighted) mean, then each row to unit length.

        Args:
            rows: ``(..., refs, 8 M, K)``.
            weights: ``(..., refs)`` or None for equal weights; they are divided by their sum.

        Returns:
            ``(..., 8 M, K)``.

        Raises:
            HyperLoRAError: as ``mean_of_photos``.
        """
        return unit(mean_of_photos(rows, weights))

    def id_coefficients(self, id_embeds: Tensor | None = None, clip_tokens: Tensor | None = None) -> Tensor:
        """``id_rows``, then ``mix``: ``(8 M, K)`` float32."""
        return self.mix(self.id_rows(id_embeds, clip_tokens))

    def base_coefficients(self, clip_tokens: Tensor) -> Tensor:
        """``base_rows``, then ``mix``: ``(8 M, K)`` float32."""
        return self.mix(self.base_rows(clip_tokens))

    def id_lora(self, coefficients: Tensor) -> LoRA:
        """The ID-LoRA of coefficients ``(8 M, K)``, in the type computed in."""
        return self._lora(self.id_bases, coefficients)

    def base_lora(self, coefficients: Tensor) -> LoRA:
        """The Base-LoRA of coefficients ``(8 M, K)``, in the type computed in.

        Raises:
            HyperLoRAError: the checkpoint has no Base parts.
        """
        self.need_base()
        return self._lora(self.base_bases, coefficients)

    def id_loras(self, coefficients: Tensor) -> list[LoRA]:
        """The ID-LoRAs of several people, of coefficients ``(people, 8 M, K)``; the bases are read once for all."""
        return self._loras(self.id_bases, coefficients)

    def _lora(self, bases: Bases, coefficients: Tensor) -> LoRA:
        (lora,) = self._loras(bases, coefficients[None])
        return lora

    def _loras(self, bases: Bases, coefficients: Tensor) -> list[LoRA]:
        expected = (ROWS_PER_MODULE * len(bases.attentions), bases.size)
        if coefficients.ndim != 3 or tuple(coefficients.shape[1:]) != expected:
            raise HyperLoRAError(
                f"coefficients of shape {expected} a person were expected, got {tuple(coefficients.shape)}"
            )
        self.before_use(bases)
        people: list[list[tuple[str, Tensor, Tensor]]] = [[] for _ in coefficients]
        for name, down, up in bases(coefficients.to(self.compute_device, self.compute_dtype)):
            for matrices, one_down, one_up in zip(people, down.unbind(), up.unbind(), strict=True):
                matrices.append((name, one_down, one_up))
        return [LoRA.from_matrices(matrices, alpha=bases.rank * LORA_SCALE) for matrices in people]

    def need_base(self) -> ResamplerConfig:
        """The configuration of the Base resampler.

        Raises:
            HyperLoRAError: the checkpoint has no Base parts.
        """
        if self.config.base_resampler is None:
            raise HyperLoRAError(
                f"this HyperLoRA{f' ({self.source.name})' if self.source.name else ''} has no Base parts "
                "(base_resampler.safetensors): it makes an ID-LoRA only. Leave the Base step out"
            )
        return self.config.base_resampler

    def _input(self, what: str, value: Tensor | None, ndim: int, width: int) -> Tensor:
        if value is None:
            raise HyperLoRAError(f"this HyperLoRA needs {what}, and none were given")
        if value.ndim != ndim or value.shape[-1] != width or len(value) == 0:
            raise HyperLoRAError(
                f"{what} of shape ({'refs, ' + 'tokens, ' * (ndim - 2)}{width}) were expected, got {tuple(value.shape)}"
                + (": the CLIP vision model is not the one this HyperLoRA was trained with" if ndim == 3 else "")
            )
        return value.to(self.compute_device, self.compute_dtype)
