"""A loss of the person: the face on pictures is compared with the reference's.

Beyond HyperLoRA's paper. Of two kinds of pictures:

Those drawn in a few steps. That is PuLID's idea (Guo et al., arXiv 2404.16022): noise becomes a picture in about four
steps of a distilled UNet, clear enough for a face embedder, and gradients flow back through the last of them into the
LoRAs.

What the UNet takes a noised picture for, as PortraitBooth has it (Peng et al., arXiv 2312.06354): the noise loss's own
pass predicts it, so that it costs no further one, and the face is where it is on the target. While there is much noise
it shows no face, so it counts up to a timestep.

Shapes: B samples; pictures ``(3, H, W)``, -1..1.
"""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..doors.diffusers.base_model import BaseModel, in_full
from ..doors.diffusers.unet import LoRAInjection
from ..errors import HyperLoRAError
from ..faces import FaceAnalyzer
from ..faces.engines import TorchRun
from ..faces.models import load_embedder
from ..faces.warping import FACE_SIDE, alignment, inverted
from ..files.encoders import check_face
from . import counter
from .config import IdentityConfig, TrainConfig
from .forward import Conditions, Matrices
from .losses import Batch, ExtraLoss, LossContext, Prediction
from .objective import Objective
from .targets import picture_of

log = logging.getLogger(__name__)


def check(config: TrainConfig) -> None:
    """Find the face models where the run has an identity loss; see ``LossKind``."""
    if config.identity.weight:
        _analyzer(config)


def build(context: LossContext) -> ExtraLoss | None:
    """The identity loss of a run; see ``LossKind``."""
    run, settings = context.config, context.config.identity
    if not settings.weight:
        return None
    if "id" not in context.loras.makes or not context.network.config.reads_faces:
        raise HyperLoRAError(f"the stage {run.stage} makes no ID-LoRA of a face embedding: leave identity.weight at 0")
    analyzer = _analyzer(run)
    check_face(context.face_encoder, analyzer.embedder, "never")
    checkpointing = run.gradient_checkpointing
    if settings.of == "predicted":
        return PredictedIdentityLoss(
            context.base, context.objective, analyzer, settings.weight, settings.until, checkpointing
        )
    return DrawnIdentityLoss(context.base, analyzer, settings, context.loras.targets, run.seed, checkpointing)


def _analyzer(config: TrainConfig) -> FaceAnalyzer:
    """Finds and embeds faces, on the CPU: the GPUs are for training."""
    return FaceAnalyzer.load(config.identity.faces)


class FaceEmbedding(nn.Module):
    """A face embedder of a pack as a frozen torch module.

    ``(B, 3, 112, 112)``, RGB, -1..1 -> ``(B, N)``, unit length.

    Args:
        path: the .onnx file.

    Raises:
        HyperLoRAError: torch cannot run it, or it is something else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            embedder = load_embedder(path, "torch")
        except HyperLoRAError as error:
            raise HyperLoRAError(f"the face embedder cannot be used for the identity loss: {error}") from error
        assert isinstance(embedder.run, TorchRun)
        self.mean, self.std, self.model = embedder.mean, embedder.spread, embedder.run.module
        self._together = self._takes_batches()

    def forward(self, faces: Tensor) -> Tensor:
        inputs = (faces * 127.5 + 127.5 - self.mean) / self.std
        if self._together:
            embeddings = self.model(inputs)[0].reshape(len(faces), -1)
        else:
            embeddings = torch.cat([self.model(face[None])[0].flatten(1) for face in inputs])
        return functional.normalize(embeddings, dim=-1)

    @torch.no_grad()
    def _takes_batches(self) -> bool:
        """Whether a batch gives the same embeddings as its faces one by one; some files are for a batch of 1."""
        faces = torch.rand(2, 3, FACE_SIDE, FACE_SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
        apart = torch.cat([self.model(face[None])[0].flatten(1) for face in faces])
        try:
            together = self.model(faces)[0].reshape(2, -1)
        except RuntimeError:
            return False
        return together.shape == apart.shape and torch.allclose(together, apart, rtol=1e-3, atol=1e-3)


def align(picture: Tensor, keypoints: np.ndarray) -> Tensor:
    """A face as its embedder takes it, cut so that gradients flow back into the picture.

    Args:
        picture: ``(3, H, W)``, RGB, -1..1.
        keypoints: ``(5, 2)``, pixels: eyes, nose, corners of the mouth.

    Returns:
        ``(3, 112, 112)``, -1..1, black beyond the picture's edge.
    """
    back = torch.from_numpy(inverted(alignment(keypoints))).to(picture)
    places = torch.arange(FACE_SIDE, device=picture.device, dtype=picture.dtype)
    y, x = torch.meshgrid(places, places, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ back.T
    height, width = picture.shape[1:]
    ends = torch.tensor([width - 1, height - 1], device=picture.device, dtype=picture.dtype)
    grid = pixels / ends * 2 - 1
    return functional.grid_sample(picture[None] + 1, grid[None], align_corners=True)[0] - 1  # beyond the edge is black


def target_embeddings(conditions: Conditions) -> Tensor:
    """The embedding that each sample's face should have, that of its references together: ``(B, N)``, unit length."""
    assert conditions.id_embeds is not None
    return functional.normalize((conditions.id_embeds.float() * conditions.present[..., None]).sum(1), dim=-1)


class PredictedIdentityLoss:
    """``1 - cosine`` of the face on what a noised picture is taken for and the reference's.

    Args:
        base: the base model; its VAE is used.
        objective: of the run.
        analyzer: whose embedder compares.
        weight: beside the noise loss.
        until: share of the timesteps at which it counts, from that with the least noise on.
        checkpointing: compute the VAE's activations again instead of keeping them.
    """

    name = "identity"

    def __init__(
        self,
        base: BaseModel,
        objective: Objective,
        analyzer: FaceAnalyzer,
        weight: float,
        until: float,
        checkpointing: bool = False,
    ) -> None:
        self.base, self.objective, self.weight = base, objective, weight
        if checkpointing:
            base.pipeline.vae.enable_gradient_checkpointing()
        self.until = until * len(objective.alphas_cumprod)
        self.embedding = FaceEmbedding(analyzer.models.embedder_file).to(base.device)

    def due(self, step: int) -> bool:
        """In every step."""
        return True

    def __call__(self, matrices: Matrices, batch: Batch, injection: LoRAInjection, prediction: Prediction) -> Tensor:
        """The loss of a pass, a number: the mean over its samples, 0 for those without ID-LoRA or with much noise."""
        assert batch.keypoints is not None
        on = batch.conditions.id_on.bool().cpu() & (prediction.timesteps.cpu() < self.until)
        if not on.any():
            return torch.zeros((), device=self.base.device)
        rows = on.nonzero()[:, 0]
        latents = self.objective.clean(prediction.noised, prediction.predicted, prediction.timesteps)[
            rows.to(prediction.noised.device)
        ]
        pictures = self.base.pictures(latents)
        points = (batch.keypoints[rows] * pictures.shape[-1] - 0.5).cpu().numpy()
        with in_full(self.base.device):
            faces = torch.stack(
                [align(picture, place) for picture, place in zip(pictures.float(), points, strict=True)]
            )
            target = target_embeddings(batch.conditions)[rows.to(faces.device)].to(faces)
            return (1 - (self.embedding(faces) * target).sum(1)).sum() / len(batch.samples)


class DrawnIdentityLoss:
    """``1 - cosine`` of a drawn face and the reference's, for the samples on whose pictures a face is found.

    Args:
        base: the base model; its VAE and schedule are used, and its UNet where ``config.unet`` names no other.
        analyzer: finds faces.
        config: how it is drawn.
        targets: canonical names of what the LoRAs change.
        seed: of the run.
        checkpointing: compute another UNet's activations, and the VAE's, again instead of keeping them.

    Raises:
        HyperLoRAError: the UNet or the embedder cannot be loaded.
    """

    name = "identity"

    def __init__(
        self,
        base: BaseModel,
        analyzer: FaceAnalyzer,
        config: IdentityConfig,
        targets: Sequence[str],
        seed: int,
        checkpointing: bool = False,
    ) -> None:
        self.base, self.analyzer, self.config, self.seed = base, analyzer, config, seed
        self.weight = config.weight
        self.unet, self._injection = base.unet, None
        if config.unet:
            self.unet = base.other_unet(config.unet)
            self._injection = LoRAInjection(self.unet, targets)
            if checkpointing:
                self.unet.enable_gradient_checkpointing(self._injection.checkpoint)  # type: ignore[operator]
        if checkpointing:
            base.pipeline.vae.enable_gradient_checkpointing()
        self.embedding = FaceEmbedding(analyzer.models.embedder_file).to(base.device)
        self._schedule = base.few_step_schedule()

    def due(self, step: int) -> bool:
        """In every step."""
        return True

    def __call__(self, matrices: Matrices, batch: Batch, injection: LoRAInjection, prediction: Prediction) -> Tensor:
        """The loss of a pass, a number: the mean over its samples, 0 for those on whose pictures no face is found."""
        losses = []
        targets = target_embeddings(batch.conditions)
        for i, sample in enumerate(batch.samples):
            if not batch.conditions.id_on[i]:
                continue
            lora = {name: (down[i], up[i]) for name, (down, up) in matrices.items()}
            within = (self._injection or injection).active(lora)
            picture = self.draw(within, sample, _of_one(batch.unet_inputs, i))
            points = self._face(picture)
            if points is None:
                continue
            with in_full(self.base.device):  # in half precision a face's place is a pixel or two off
                embedding = self.embedding(align(picture.float(), points)[None])[0]
                losses.append(1 - embedding @ targets[i].to(embedding))
        if not losses:
            return torch.zeros((), device=self.base.device)
        return torch.stack(losses).sum() / len(batch.samples)  # however a step is cut into passes, it is the same

    def draw(self, within: AbstractContextManager[None], sample: int, inputs: dict[str, Any]) -> Tensor:
        """The picture of a sample, drawn from noise; gradients flow through the last ``config.grad_steps`` steps.

        Args:
            within: a context whose LoRA it is drawn with.
            sample: its number in the run.
            inputs: what the UNet is given, of this sample.
        """
        side, schedule, dtype = self.config.resolution, self._schedule, next(self.unet.parameters()).dtype
        schedule.set_timesteps(self.config.steps, device=self.base.device)
        noise = counter.normal(self.seed, [sample], "identity", self.base.latent_shape(side, side))
        latents = noise.to(self.base.device) * schedule.init_noise_sigma
        if "added_cond_kwargs" in inputs:
            sizes = torch.tensor([[side, side, 0, 0, side, side]]).to(inputs["added_cond_kwargs"]["time_ids"])
            inputs = inputs | {"added_cond_kwargs": inputs["added_cond_kwargs"] | {"time_ids": sizes}}
        with within:
            for i, timestep in enumerate(schedule.timesteps):
                with torch.set_grad_enabled(i >= self.config.steps - self.config.grad_steps):
                    scaled = schedule.scale_model_input(latents, timestep).to(dtype)
                    predicted = self.unet(scaled, timestep, **inputs).sample
                    latents = schedule.step(predicted.float(), timestep, latents).prev_sample
        return self.base.pictures(latents)[0]

    def _face(self, picture: Tensor) -> np.ndarray | None:
        """Keypoints of the surest face on a picture, ``(5, 2)``; None where there is none."""
        faces = self.analyzer.detect(picture_of(picture))
        return faces[0].keypoints if faces else None


def _of_one(inputs: Any, sample: int) -> dict[str, Any]:
    """What a UNet is given beside latents and timesteps, of one sample."""
    return {
        name: _of_one(value, sample) if isinstance(value, dict) else value[sample : sample + 1]
        for name, value in inputs.items()
    }
