"""A person's LoRA, trained on from the generated one: an ordinary LoRA training that begins where HyperLoRA leaves off.

Some 50 steps on 10 to 20 photos of the person are the public README's tip. The result is a kohya LoRA of the same ranks
and alphas.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from ..doors.diffusers.base_model import BaseModel
from ..doors.diffusers.unet import attention_modules
from ..errors import HyperLoRAError
from ..faces import FaceAnalyzer, choose_face, sort_faces
from ..files.photos import SUFFIXES, open_photo, photo_files
from ..lora.value import Factors, LoRA
from ..network.bases import targets
from . import counter
from .config import Optimization, RunConfig
from .forward import Conditions, Learner, Matrices
from .losses import Batch
from .objective import Objective
from .targets import check_resolution, draw_target, encoded, face_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneConfig(RunConfig):
    """A person's run.

    Attributes:
        images: folder of their photos; a .txt beside a photo is its caption.
    """

    images: str = ""
    steps: int = field(default=50, kw_only=True)
    samples_per_step: int = field(default=2, kw_only=True)
    batch: int = field(default=1, kw_only=True)
    save_every: int = field(default=1000, kw_only=True)
    optimization: Optimization = field(default_factory=lambda: Optimization(warmup=5), kw_only=True)


class OwnLoRA(Learner):
    """One LoRA, the same for every sample.

    Args:
        lora: where it begins; its matrices are copied, in float32.

    Raises:
        HyperLoRAError: it is empty.
    """

    def __init__(self, lora: LoRA) -> None:
        super().__init__()
        factors = dict(lora.factors())
        if not factors:
            raise HyperLoRAError("the LoRA to begin with is empty: give --id-weight another number than 0")
        self.targets = tuple(factors)
        self.metadata = lora.metadata
        self._scale = next(iter(factors.values())).scale
        self.downs = nn.ParameterList(factor.down.float().clone() for factor in factors.values())
        self.ups = nn.ParameterList(factor.up.float() * (factor.scale / self._scale) for factor in factors.values())

    def at(self, share: float) -> None:
        """It is the same throughout."""

    def forward(self, conditions: Conditions) -> Matrices:
        """Its matrices, without a batch: down ``(rank, in)``, up ``(out, rank)``."""
        return {name: (self.downs[i], self.ups[i] * self._scale) for i, name in enumerate(self.targets)}

    def lora(self, weights: Mapping[str, Tensor]) -> LoRA:
        """What its state dict, on the CPU, is as a LoRA."""
        factors = {}
        for i, name in enumerate(self.targets):
            down, up = weights[f"downs.{i}"], weights[f"ups.{i}"]
            factors[name] = Factors(down, up, self._scale * down.shape[0])
        return LoRA.of_factors(factors, self.metadata)


@dataclass(frozen=True)
class OwnPhoto:
    """A photo of the person.

    Attributes:
        photo: RGB.
        box: of the face, left, top, right, bottom.
        caption: what it shows; may be empty.
    """

    photo: Image.Image
    box: Sequence[float]
    caption: str


def read_photos(folder: Path, analyzer: FaceAnalyzer) -> list[OwnPhoto]:
    """The photos of a folder, each with its largest face; a photo without one is left out, and said.

    Raises:
        HyperLoRAError: there is no such folder, or none of its photos has a face.
    """
    if not folder.is_dir():
        raise HyperLoRAError(f"--images {folder} is no folder: give one of 10 to 20 photos of the person")
    own_photos = []
    paths = photo_files(folder)
    for path in paths:
        try:
            photo = open_photo(path)
            face = choose_face(sort_faces(analyzer.detect(photo)))
        except HyperLoRAError as error:
            log.warning("left out %s: %s", path.name, error)
            continue
        text = path.with_suffix(".txt")
        caption = text.read_text(encoding="utf-8-sig", errors="replace").strip() if text.is_file() else ""
        own_photos.append(OwnPhoto(photo, tuple(float(edge) for edge in face.box), caption))
    if not own_photos:
        raise HyperLoRAError(
            f"{folder} has no photo with a face: {len(paths)} pictures ({', '.join(SUFFIXES)}) are in it"
        )
    return own_photos


class PhotoTask:
    """The ``Task`` of a person's run.

    Args:
        base: the base model.
        photos: of the person.
        config: of the run.

    Raises:
        HyperLoRAError: the resolution does not fit the base model.
    """

    def __init__(self, base: BaseModel, photos: Sequence[OwnPhoto], config: RunConfig) -> None:
        check_resolution(base, config)
        self.base, self.photos, self.config = base, photos, config
        self.unet = base.unet
        base.captions.limit, base.encodings.limit = config.caption_cache << 20, config.latent_cache << 20
        self.objective = Objective(*base.noise_schedule(), config.min_snr_gamma, config.noise_offset)

    def batches(self, passes: Iterator[range]) -> Iterator[Batch]:
        """The samples of each pass, as they are asked for: photos lie in memory."""
        return map(self.batch, passes)

    def batch(self, samples: range) -> Batch:
        """Samples by their numbers."""
        places = counter.integers(self.config.seed, samples, "picture", len(self.photos)).tolist()
        targets = []
        for number, place in zip(samples, places, strict=True):
            own = self.photos[place]
            targets.append(draw_target(own.photo, own.box, own.caption, True, self.config, number))
        latents, inputs = encoded(self.base, self.config.seed, samples, targets)
        on = torch.ones(len(samples))
        weights = face_weights(targets, latents.shape[2:], self.config.face_weight)
        return Batch(samples, latents, Conditions(id_on=on, base_on=on, present=on[:, None]), inputs, weights)


def fresh_lora(unet: nn.Module, rank: int, seed: int) -> LoRA:
    """A LoRA on all attentions of a UNet that changes nothing yet: ``up`` is zero, and ``down`` as torch begins layers.

    Args:
        unet: diffusers' own.
        rank: of each of its matrices, and its alpha.
        seed: of the random numbers.
    """
    layers, numbers, factors = dict(unet.named_modules()), torch.Generator().manual_seed(seed), {}
    for name in targets(module.name for module in attention_modules(unet)):
        layer = layers[name]
        assert isinstance(layer, nn.Linear)
        bound = layer.in_features**-0.5
        down = torch.empty(rank, layer.in_features).uniform_(-bound, bound, generator=numbers)
        factors[name] = Factors(down, torch.zeros(layer.out_features, rank), rank)
    return LoRA.of_factors(factors)


def check_fits(unet: nn.Module, lora: OwnLoRA) -> None:
    """Refuse a LoRA for another UNet.

    Raises:
        HyperLoRAError: naming what does not fit.
    """
    layers = dict(unet.named_modules())
    for name, down, up in zip(lora.targets, lora.downs, lora.ups, strict=True):
        layer = layers.get(name)
        if not isinstance(layer, nn.Linear) or (layer.in_features, layer.out_features) != (down.shape[1], up.shape[0]):
            raise HyperLoRAError(
                f"the LoRA changes {name} ({down.shape[1]} to {up.shape[0]}), which the base model has not: choose the "
                "base model that the HyperLoRA was trained on, or one of the same shape"
            )
