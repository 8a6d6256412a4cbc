"""The small VAE: 128 pixels a side to 16 x 16 x 4 numbers and back, in TAESD's shape with fewer channels.

Faces weigh more than what is around them, and edges as much as colours: without that, heads have no eyes for long. It
learns on squares of the pictures, most of them about the face: a network of convolutions needs no more, and so sees
four times as many.

What it then still loses of a face is what tells people apart. So its decoder goes on with the face embedder beside it,
on the photos that HyperLoRA is trained on, where faces' places are known; latents stay what they are.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from PIL import Image
from torch import Tensor, nn

from demo.drawn import drawing
from hyperlora_core.data.shards import Shards
from hyperlora_core.training.identity_loss import FaceEmbedding, align
from hyperlora_core.training.targets import as_pixels

from .fitting import Recipe, fit
from .pictures import drawn_pictures

RECIPE = Recipe(steps=4000, batch=24, rate=2e-3, average=0.997, weight_decay=0.0)
FACES = Recipe(steps=450, batch=12, rate=1e-3, decay=0.6, average=0.98, weight_decay=0.0)
"""Of ``see_faces``."""

ENCODER_WIDTH, DECODER_WIDTH = 32, 48

_NOISE = 0.08  # added to latents of spread 1, so that what the base draws nearly right is decoded well
_COLOUR_SPREAD = 3.5  # of latents over that of colours from 0 to 1
_CROP = 64  # pixels
_FACE = 4.0  # weight of the face's place beside 1 elsewhere
_PERSON = 1.0  # weight of the face embedder's part
_UNSURE = 0.3  # at most so much noise is added to latents while faces are looked at


def network() -> AutoencoderTiny:
    """An untrained one."""
    torch.manual_seed(0)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(ENCODER_WIDTH,) * 4, decoder_block_out_channels=(DECODER_WIDTH,) * 4
    )
    for part in vae.modules():  # it has no norms: each block begins as nothing, each convolution keeps the spread
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in vae.modules():
        if isinstance(part, AutoencoderTinyBlock):
            nn.init.zeros_(part.conv[-1].weight)
    _begin_with_colours(vae)
    return vae.to(memory_format=torch.channels_last)


@torch.no_grad()
def _begin_with_colours(vae: AutoencoderTiny) -> None:
    """Let it begin as what shrinks a picture and enlarges it again: else it is long before it finds colours."""
    convolutions = [
        [layer for layer in part.layers if isinstance(layer, nn.Conv2d)] for part in (vae.encoder, vae.decoder)
    ]
    colours = range(3)
    for layers in convolutions:
        for layer in layers:
            average = layer.stride[0] > 1
            for colour in colours:
                layer.weight[colour] = 0
                if average:
                    layer.weight[colour, colour, 1:, 1:] = 0.25
                else:
                    layer.weight[colour, colour, 1, 1] = 1
    (*_, to_latents), (from_latents, *_) = convolutions
    to_latents.weight[:3] *= _COLOUR_SPREAD
    to_latents.bias[:3] = -0.5 * _COLOUR_SPREAD
    from_latents.weight[:3] /= _COLOUR_SPREAD
    from_latents.bias[:3] = 0.5


def train(path: Path, recipe: Recipe = RECIPE) -> Path:
    """Train it to the end, or what is left of that; the file is diffusers' state dict."""
    vae, pictures = network(), drawn_pictures()
    weights = _weights(drawing.SIZE)

    def loss(generator: torch.Generator, count: int) -> Tensor:
        indices = torch.randint(len(pictures), (count,), generator=generator)
        corners = _corners(count, pictures.shape[-1], generator)
        target = as_pixels(_cut(pictures[indices], corners)).contiguous(memory_format=torch.channels_last)
        near = _cut(weights.expand(count, -1, -1, -1), corners)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(target).latents
            noise = torch.randn(latents.shape, generator=generator)
            drawn = vae.decode(latents + _NOISE * noise).sample
        latents, drawn = latents.float(), drawn.float()
        spread = (latents.std(dim=(0, 2, 3)) - 1).square().mean() + latents.mean(dim=(0, 2, 3)).square().mean()
        return _difference(drawn, target, near) + 0.05 * spread

    return fit(path, vae, loss, recipe)


def see_faces(path: Path, vae: AutoencoderTiny, shards: Shards, embedding: FaceEmbedding) -> Path:
    """Let the decoder of a trained one go on until faces are told apart by what it draws, or what is left of that.

    Args:
        path: of the whole network's weights, diffusers' state dict.
        vae: as ``train`` made it; changed in place.
        shards: photos of people.
        embedding: tells them apart.
    """
    photos, places = _photos(shards)
    points = places * drawing.SIZE - 0.5
    embedding.requires_grad_(False)
    with torch.no_grad():
        faces = torch.stack([align(as_pixels(photo), at) for photo, at in zip(photos, points, strict=True)])
        own = torch.cat([embedding(part) for part in faces.split(32)])
    vae.encoder.requires_grad_(False)
    weights = _weights(drawing.SIZE)

    def loss(generator: torch.Generator, count: int) -> Tensor:
        indices = torch.randint(len(photos), (count,), generator=generator).tolist()
        target = as_pixels(photos[indices]).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(target).latents
            noise = torch.randn(latents.shape, generator=generator)
            drawn = vae.decode(latents + _UNSURE * torch.rand(count, 1, 1, 1, generator=generator) * noise).sample
        drawn = drawn.float()
        pairs = zip(drawn, points[indices], strict=True)
        embeds = embedding(torch.stack([align(face, at) for face, at in pairs]))
        return _difference(drawn, target, weights) + _PERSON * (1 - (embeds * own[indices]).sum(1)).mean()

    return fit(path, vae, loss, FACES)


def _photos(shards: Shards) -> tuple[Tensor, np.ndarray]:
    """Photos ``(N, 3, S, S)`` uint8, and faces' keypoints on them ``(N, 5, 2)``, shares of the side."""
    photos, places = [], []
    for sample in (shards[number] for number in range(len(shards))):
        small = sample.photo().resize((drawing.SIZE,) * 2, Image.Resampling.LANCZOS)
        photos.append(torch.from_numpy(np.array(small)).permute(2, 0, 1))
        places.append((sample.keypoints + 0.5) / sample.width)
    return torch.stack(photos), np.stack(places)


@torch.no_grad()
def encoded(vae: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Pictures ``(N, 3, S, S)`` uint8 -> latents ``(N, 4, S / 8, S / 8)`` float16."""
    latents = []
    with torch.autocast("cpu", torch.bfloat16):
        for part in pictures.split(40):
            latents.append(vae.encode(as_pixels(part).contiguous(memory_format=torch.channels_last)).latents.half())
    return torch.cat(latents).contiguous()


def _corners(count: int, size: int, generator: torch.Generator) -> list[list[int]]:
    """Where squares begin, down and across: most of them hold the face."""
    middle = torch.tensor([0.32, 0.25]) * size
    drawn = middle + 0.17 * size * torch.randn(count, 2, generator=generator)
    return drawn.round().clamp(0, size - _CROP).long().tolist()


def _cut(pictures: Tensor, corners: list[list[int]]) -> Tensor:
    pairs = zip(pictures, corners, strict=True)
    return torch.stack([picture[:, top : top + _CROP, left : left + _CROP] for picture, (top, left) in pairs])


def _weights(size: int) -> Tensor:
    """``(1, 1, S, S)``: more where faces are."""
    points = (torch.arange(size) + 0.5) / size * 2 - 1
    spot = torch.exp(-((points[None, :] / 0.36).square() + ((points[:, None] - 0.10) / 0.45).square()).square())
    return (1 + (_FACE - 1) * spot)[None, None]


def _difference(drawn: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """L1 of colours, of edges, and of both at half the size."""
    total = torch.zeros(())
    for scale in (1, 2):
        if scale > 1:
            drawn, target, weights = (F.avg_pool2d(maps, scale) for maps in (drawn, target, weights))
        total = total + ((drawn - target).abs() * weights).mean()
        for axis in (2, 3):
            along = weights.narrow(axis, 1, weights.shape[axis] - 1)
            total = total + 2 * ((drawn.diff(dim=axis) - target.diff(dim=axis)).abs() * along).mean()
    return total
