"""A HyperLoRA's hyperparameters, read off the shapes of its tensors.

The released files carry none. All of them follow from shapes but one, how the attention width is split into heads: the
released ones are 64 wide.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import HyperLoRAError
from ..lora.names import PROJECTIONS

HEAD_DIM = 64
ROWS_PER_MODULE = 2 * len(PROJECTIONS)  # a down and an up row for each projection
LORA_SCALE = 0.5  # alpha over rank of the generated LoRAs

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Source:
    """Which checkpoint something was made by; both are empty for a network that was built and not loaded.

    Attributes:
        name: of the checkpoint's folder or file.
        fingerprint: what tells it apart, see ``checkpoint.Checkpoint.fingerprint``.
    """

    name: str = ""
    fingerprint: str = ""

    def __str__(self) -> str:
        return f"'{self.name or 'unknown'}' ({self.fingerprint[:10] or 'no fingerprint'})"


@dataclass(frozen=True)
class AttentionModule:
    """One attention of the UNet that the LoRA changes.

    Attributes:
        name: canonical name, the diffusers path, e.g. ``down_blocks.1.attentions.0.transformer_blocks.0.attn1``.
        hidden_size: width of the picture tokens; every projection's output is this wide.
        cross_attention_dim: width of the text tokens where keys and values see those, else None.
    """

    name: str
    hidden_size: int
    cross_attention_dim: int | None

    def in_features(self, projection: str) -> int:
        """Width of what ``projection`` reads."""
        reads_text = projection in ("to_k", "to_v") and self.cross_attention_dim is not None
        return self.cross_attention_dim if reads_text else self.hidden_size  # type: ignore[return-value]


@dataclass(frozen=True)
class ResamplerConfig:
    """Shape of one resampler.

    Attributes:
        queries: rows of coefficients it makes, 8 for each attention module.
        dim: width of the queries.
        depth: number of blocks.
        heads: attention heads.
        ff_mult: width of the feed-forward over ``dim``.
        condition_dims: width of each condition's tokens, in the order in which a block attends to them.
        out_dim: coefficients a row, the size K of the bases.
        head_dim: width of a head.
    """

    queries: int
    dim: int
    depth: int
    heads: int
    ff_mult: int
    condition_dims: tuple[int, ...]
    out_dim: int
    head_dim: int = HEAD_DIM

    @classmethod
    def from_shapes(cls, shapes: Shapes, head_dim: int = HEAD_DIM) -> "ResamplerConfig":
        """Read off the tensors of one resampler file, whose heads are ``head_dim`` wide.

        Raises:
            HyperLoRAError: a tensor is missing or its shape makes no sense.
        """
        if type(head_dim) is not int or head_dim < 1:
            raise HyperLoRAError(f"its attention heads are said to be {head_dim!r} wide; a number was expected")
        try:
            _, queries, dim = shapes["latents"]
            inner, _ = shapes["layers.0.attn1.to_q.weight"]
            hidden, _ = shapes["layers.0.ff.net.0.proj.weight"]
            conditions = tuple(shapes[f"{name}.weight"][1] for name in condition_names(shapes))
            out_dim, _ = shapes["proj_out.weight"]
        except (KeyError, ValueError, IndexError) as error:
            raise HyperLoRAError(f"this is no HyperLoRA resampler: {error} is missing or misshapen") from error
        if 0 in (queries, dim, out_dim) or hidden % dim or not conditions:
            raise HyperLoRAError(
                f"this is no HyperLoRA resampler: {queries} queries {dim} wide, a feed-forward {hidden} wide and "
                f"{out_dim} coefficients do not fit one another, or its proj_in is missing"
            )
        if inner % head_dim or inner == 0:
            raise HyperLoRAError(f"the resampler's attention is {inner} wide; a multiple of {head_dim} was expected")
        depth = 1 + max(int(match[1]) for key in shapes if (match := re.match(r"layers\.(\d+)\.", key)))
        if depth > len(shapes):
            raise HyperLoRAError(f"this is no HyperLoRA resampler: of {depth} layers most are missing")
        return cls(queries, dim, depth, inner // head_dim, hidden // dim, conditions, out_dim, head_dim)


def condition_names(keys: Mapping[str, object]) -> list[str]:
    """The names of the input projections that a resampler has, in order."""
    return [name for name in ("proj_in", "proj_in_2") if f"{name}.weight" in keys]


@dataclass(frozen=True)
class HyperLoRAConfig:
    """Everything needed to build the network.

    Attributes:
        modules: the UNet's attentions, in the checkpoint's order.
        id_resampler: resampler of the ID-LoRA.
        base_resampler: resampler of the Base-LoRA, or None.
        id_rank: rank of the ID-LoRA.
        base_rank: rank of the Base-LoRA, or None.
        id_embed_dim: width of the face embedding, or None where the ID-LoRA is conditioned on CLIP alone.
        id_tokens: tokens that the ID projector makes of one face embedding (0 without one).
        clip_width: width of the CLIP tokens, or None where no resampler reads any.
        token_width: width of the ID tokens.
    """

    modules: tuple[AttentionModule, ...]
    id_resampler: ResamplerConfig
    base_resampler: ResamplerConfig | None
    id_rank: int
    base_rank: int | None
    id_embed_dim: int | None
    id_tokens: int
    token_width: int
    clip_width: int | None

    @property
    def basis_size(self) -> int:
        """K: the number of matrices in each basis."""
        return self.id_resampler.out_dim

    def to_json(self) -> dict[str, int | None]:
        """What a checkpoint file notes of itself."""
        resampler = self.id_resampler
        return {
            "dim": resampler.dim,
            "heads": resampler.heads,
            "head_dim": resampler.head_dim,
            "depth": resampler.depth,
            "ff_mult": resampler.ff_mult,
            "id_embed_dim": self.id_embed_dim,
            "id_tokens": self.id_tokens,
            "clip_width": self.clip_width,
            "bases": self.basis_size,
            "id_rank": self.id_rank,
            "base_rank": self.base_rank,
            "attentions": len(self.modules),
        }

    @property
    def head_dim(self) -> int:
        """Width of the resamplers' attention heads."""
        return self.id_resampler.head_dim

    @property
    def reads_faces(self) -> bool:
        """Whether the ID-LoRA is conditioned on a face embedding."""
        return self.id_embed_dim is not None

    @property
    def reads_clip(self) -> bool:
        """Whether the ID-LoRA is conditioned on CLIP tokens."""
        return len(self.id_resampler.condition_dims) > self.reads_faces

    @property
    def has_base(self) -> bool:
        """Whether the checkpoint can make a Base-LoRA."""
        return self.base_resampler is not None

    @classmethod
    def from_shapes(
        cls, modules: tuple[AttentionModule, ...], parts: Mapping[str, Shapes], head_dim: int = HEAD_DIM
    ) -> "HyperLoRAConfig":
        """Read off a checkpoint's parts.

        Args:
            modules: the attentions, as the checkpoint's JSON names them.
            parts: file stem of the released layout (``resampler``, ...) -> tensor name -> shape.
            head_dim: width of the resamplers' attention heads.

        Raises:
            HyperLoRAError: a part is missing or does not fit the others.
        """
        bases = parts["hyper_lora_modules"]
        resampler = ResamplerConfig.from_shapes(parts["resampler"], head_dim)
        base = ResamplerConfig.from_shapes(parts["base_resampler"], head_dim) if "base_resampler" in parts else None
        rows = ROWS_PER_MODULE * len(modules)
        for name, part in (("resampler", resampler), ("base_resampler", base)):
            if part is not None and part.queries != rows:
                raise HyperLoRAError(
                    f"{name} makes {part.queries} rows of coefficients, but the {len(modules)} attention modules that "
                    f"hyper_lora_modules.json lists need {rows}: these files are not of one checkpoint"
                )
        if base is not None and len(base.condition_dims) > 1:
            raise HyperLoRAError("base_resampler reads two conditions, where CLIP tokens alone were expected")
        if base is None and "0.to_q.base_down_basis" in bases:
            raise HyperLoRAError("hyper_lora_modules has the bases of a Base-LoRA, but base_resampler is missing")
        embed_dim, tokens, width = _read_projector(parts["id_projector"]) if "id_projector" in parts else (None, 0, 0)
        if embed_dim is None and len(resampler.condition_dims) > 1:
            raise HyperLoRAError("the resampler reads a face embedding and CLIP tokens, but id_projector is missing")
        if embed_dim is not None and resampler.condition_dims[0] != width:
            raise HyperLoRAError(
                f"id_projector makes tokens {width} wide, but the resampler reads {resampler.condition_dims[0]}: these "
                "files are not of one checkpoint"
            )
        clip_widths = [*resampler.condition_dims[embed_dim is not None :], *(base.condition_dims if base else ())]
        if len(set(clip_widths)) > 1:
            raise HyperLoRAError(
                f"resampler and base_resampler read CLIP tokens of unequal widths, {clip_widths[0]} and "
                f"{clip_widths[1]}: these files are not of one checkpoint"
            )
        try:
            return cls(
                modules=modules,
                id_resampler=resampler,
                base_resampler=base,
                id_rank=bases["0.to_q.id_down_basis"][2],
                base_rank=bases["0.to_q.base_down_basis"][2] if base else None,
                id_embed_dim=embed_dim,
                id_tokens=tokens,
                token_width=width,
                clip_width=clip_widths[0] if clip_widths else None,
            )
        except (KeyError, IndexError) as error:
            raise HyperLoRAError(f"hyper_lora_modules.safetensors holds no {error}: the file is incomplete") from error


def _read_projector(shapes: Shapes) -> tuple[int, int, int]:
    """Width of the face embedding, number of tokens and their width."""
    try:
        (out, embed_dim), (width,) = shapes["0.weight"], shapes["2.weight"]
    except (KeyError, ValueError) as error:
        raise HyperLoRAError(f"id_projector is no ID projector: {error} is missing or misshapen") from error
    if 0 in (out, embed_dim, width) or out % width:
        raise HyperLoRAError(f"id_projector makes {out} numbers, which are not tokens {width} wide")
    return embed_dim, out // width, width
