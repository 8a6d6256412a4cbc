"""The reference that speed is measured against: HyperLoRA written in the simplest way from its description.

Modules of zeros, the files loaded into them and cast to single precision, one product for every matrix of the LoRA, all
copied out. It shares no code with ``hyperlora_core`` and is held to the same golden numbers.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

HEAD_DIM = 64
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out")


class Attention(nn.Module):
    """Multi-head attention without biases."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.heads = inner // HEAD_DIM
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, inner, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(inner, dim, bias=False)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        def heads(t: Tensor) -> Tensor:
            return t.view(len(t), -1, self.heads, HEAD_DIM).transpose(1, 2)

        out = F.scaled_dot_product_attention(heads(self.to_q(x)), heads(self.to_k(context)), heads(self.to_v(context)))
        return self.to_out[0](out.transpose(1, 2).reshape(len(x), x.shape[1], -1))


class FeedForward(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        first = nn.Module()
        first.proj = nn.Linear(dim, hidden)
        self.net = nn.ModuleList([first, nn.Identity(), nn.Linear(hidden, dim)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](F.gelu(self.net[0].proj(x)))


class Block(nn.Module):
    """Self-attention, a look at each condition, feed-forward."""

    def __init__(self, dim: int, inner: int, hidden: int, conditions: int) -> None:
        super().__init__()
        self.conditions = conditions
        self.norm_attn1, self.attn1 = nn.LayerNorm(dim), Attention(dim, inner)
        self.norm_attn2_l, self.norm_attn2_x, self.attn2 = nn.LayerNorm(dim), nn.LayerNorm(dim), Attention(dim, inner)
        if conditions == 2:
            self.norm_attn3_l, self.norm_attn3_y = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.attn3 = Attention(dim, inner)
        self.norm_ff, self.ff = nn.LayerNorm(dim), FeedForward(dim, hidden)

    def forward(self, latents: Tensor, x: Tensor, y: Tensor | None) -> Tensor:
        normed = self.norm_attn1(latents)
        latents = latents + self.attn1(normed, normed)
        latents = latents + self.attn2(self.norm_attn2_l(latents), self.norm_attn2_x(x))
        if self.conditions == 2:
            latents = latents + self.attn3(self.norm_attn3_l(latents), self.norm_attn3_y(y))
        return latents + self.ff(self.norm_ff(latents))


class Resampler(nn.Module):
    """Conditions to rows of coefficients."""

    def __init__(self, shapes: dict[str, torch.Size]) -> None:
        super().__init__()
        _, queries, dim = shapes["latents"]
        inner, hidden = shapes["layers.0.attn1.to_q.weight"][0], shapes["layers.0.ff.net.0.proj.weight"][0]
        depth = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("layers."))
        self.latents = nn.Parameter(torch.zeros(1, queries, dim))
        names = [name for name in ("proj_in", "proj_in_2") if f"{name}.weight" in shapes]
        for name in names:
            self.add_module(name, nn.Linear(shapes[f"{name}.weight"][1], dim))
        self.layers = nn.ModuleList(Block(dim, inner, hidden, len(names)) for _ in range(depth))
        self.proj_out = nn.Linear(dim, shapes["proj_out.weight"][0])
        self.names = names

    def forward(self, *conditions: Tensor) -> Tensor:
        contexts = [getattr(self, name)(tokens) for name, tokens in zip(self.names, conditions, strict=True)]
        latents = self.latents.repeat(len(contexts[0]), 1, 1)
        for layer in self.layers:
            latents = layer(latents, contexts[0], contexts[1] if len(contexts) == 2 else None)
        return self.proj_out(latents)


class Reference(nn.Module):
    """A HyperLoRA that reads a face embedding and CLIP tokens, in single precision."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        files = {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
        self.modules_json = json.loads((folder / "hyper_lora_modules.json").read_text())
        shapes = {part: {name: tensor.shape for name, tensor in tensors.items()} for part, tensors in files.items()}
        out, embed = shapes["id_projector"]["0.weight"]
        self.width = shapes["id_projector"]["2.weight"][0]
        self.id_projector = nn.ModuleList([nn.Linear(embed, out), nn.Identity(), nn.LayerNorm(self.width)])
        self.resampler = Resampler(shapes["resampler"])
        self.has_base = "base_resampler" in files
        if self.has_base:
            self.base_resampler = Resampler(shapes["base_resampler"])
        self.bases = nn.ParameterDict(
            {name.replace(".", "/"): torch.zeros(shape) for name, shape in shapes["hyper_lora_modules"].items()}
        )
        state = {f"bases.{name.replace('.', '/')}": tensor for name, tensor in files.pop("hyper_lora_modules").items()}
        state |= {f"{part}.{name}": tensor for part, tensors in files.items() for name, tensor in tensors.items()}
        self.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        self.requires_grad_(False)

    def coefficients(self, id_embeds: Tensor, clip_tokens: Tensor) -> Tensor:
        """``(refs, embed)`` and ``(refs, tokens, width)`` -> ``(rows, K)``."""
        tokens = self.id_projector[2](self.id_projector[0](id_embeds).view(len(id_embeds), -1, self.width))
        return self.scaled(self.resampler(tokens, clip_tokens))

    def base_coefficients(self, clip_tokens: Tensor) -> Tensor:
        """``(refs, tokens, width)`` -> ``(rows, K)``."""
        return self.scaled(self.base_resampler(clip_tokens))

    @staticmethod
    def scaled(rows: Tensor) -> Tensor:
        """The mean over the photos, each row then of unit length."""
        mean = rows.mean(0)
        return mean / torch.sqrt(mean.square().sum(-1, keepdim=True) + 1e-8)

    def lora(self, coefficients: Tensor, kind: str = "id") -> dict[str, Tensor]:
        """``(rows, K)`` -> kohya key -> tensor."""
        tensors = {}
        for i, name in enumerate(self.modules_json):
            for j, projection in enumerate(PROJECTIONS):
                key = f"{name}_{'to_out_0' if projection == 'to_out' else projection}"
                for k, direction in enumerate(("down", "up")):
                    basis = self.bases[f"{i}/{projection}/{kind}_{direction}_basis"]
                    row = coefficients[8 * i + 2 * j + k]
                    matrix = (row @ basis.flatten(1)).view(basis.shape[1:])
                    tensors[f"{key}.lora_{direction}.weight"] = matrix.T.contiguous().cpu()
                rank = tensors[f"{key}.lora_down.weight"].shape[0]
                tensors[f"{key}.alpha"] = torch.tensor(rank / 2)
        return tensors
