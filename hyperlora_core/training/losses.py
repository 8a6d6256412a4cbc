"""What a loss sees of a forward pass, and what a loss beside the noise loss has to be.

Shapes: B samples; latents ``(B, C, H, W)``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..doors.diffusers.base_model import BaseModel
from ..doors.diffusers.unet import LoRAInjection
from ..files.encoders import Encoder
from ..network.hyperlora import HyperLoRA
from .config import TrainConfig
from .forward import Conditions, GeneratedLoRAs, Matrices
from .objective import Objective


@dataclass(frozen=True)
class Batch:
    """The inputs of one forward pass.

    Attributes:
        samples: their numbers in the run.
        latents: ``(B, C, H, W)`` without noise.
        conditions: what the hypernetwork reads.
        unet_inputs: the UNet's keyword arguments besides noised latents and timesteps.
        weights: ``(B, 1, H, W)``, the weight of each latent in the loss; None where all weigh the same.
        keypoints: ``(B, 5, 2)``, of the face on each picture, as shares of its side; None where they are unknown.
    """

    samples: range
    latents: Tensor
    conditions: Conditions
    unet_inputs: Mapping[str, Any]
    weights: Tensor | None = None
    keypoints: Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """What the UNet, with the LoRAs that act on it, predicts for a noised batch.

    Attributes:
        timesteps: ``(B,)`` int64.
        noised: ``(B, C, H, W)``, the noised latents.
        predicted: ``(B, C, H, W)``, the UNet's output.
        target: ``(B, C, H, W)``, what that output should be.
    """

    timesteps: Tensor
    noised: Tensor
    predicted: Tensor
    target: Tensor


def predict(objective: Objective, unet: Callable[..., Any], dtype: torch.dtype, batch: Batch, seed: int) -> Prediction:
    """Noise a batch and let a UNet predict.

    Args:
        objective: noises the samples.
        unet: of the base model, with whatever LoRAs act on it.
        dtype: of its weights.
        batch: the samples.
        seed: of the run; together with the samples' numbers it settles timesteps and noise.
    """
    timesteps = objective.timesteps(seed, batch.samples)
    noise = objective.noise(seed, batch.samples, batch.latents)
    noised = objective.noised(batch.latents, noise, timesteps)
    predicted = unet(noised.to(dtype), timesteps.to(batch.latents.device), **batch.unet_inputs).sample
    return Prediction(timesteps, noised, predicted, objective.target(batch.latents, noise, timesteps))


class ExtraLoss(Protocol):
    """A loss beside the noise loss: the run adds ``weight`` times its value, and logs the value as ``loss/<name>``.

    One with a state of its own is a ``StatefulLoss`` too.

    Attributes:
        name: unique among the losses of a run.
        weight: its factor in the sum.
    """

    @property
    def name(self) -> str: ...

    @property
    def weight(self) -> float: ...

    def due(self, step: int) -> bool:
        """Whether it is computed in a step, counted from 0; the answer must be the same on every process."""
        ...

    def __call__(self, matrices: Matrices, batch: Batch, injection: LoRAInjection, prediction: Prediction) -> Tensor:
        """The loss of a forward pass, a scalar: the mean over the samples of the batch.

        Args:
            matrices: the LoRAs of the batch.
            batch: the inputs.
            injection: hooks on the base model's UNet; the LoRAs act only within ``injection.active(matrices)``.
            prediction: of that UNet for the batch, with these LoRAs.
        """
        ...


@runtime_checkable
class StatefulLoss(Protocol):
    """A loss whose state is saved with the run's and restored by name; it must be the same on every process."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class LossContext:
    """What an extra loss may be built from.

    Attributes:
        base: the base model, on the device.
        objective: of the run.
        network: the hypernetwork.
        loras: what trains.
        config: of the run.
        face_encoder: the face embedder that the training set's embeddings are from.
    """

    base: BaseModel
    objective: Objective
    network: HyperLoRA
    loras: GeneratedLoRAs
    config: TrainConfig
    face_encoder: Encoder


class LossKind(Protocol):
    """A kind of extra loss, usually a module, listed in ``extra_losses.KINDS``."""

    def check(self, config: TrainConfig) -> None:
        """Find missing files before a base model is loaded.

        Raises:
            HyperLoRAError: the config asks for the loss, and something that it needs is missing.
        """
        ...

    def build(self, context: LossContext) -> ExtraLoss | None:
        """The loss of a run; None where its config leaves it out.

        Raises:
            HyperLoRAError: the loss does not fit the run.
        """
        ...


@dataclass
class Progress:
    """How far a run is, saved with its state.

    Attributes:
        step: optimizer steps made.
        losses: those that have a state are saved with it, by name; without one the saved dict holds the step alone.
    """

    step: int = 0
    losses: Sequence[ExtraLoss] = ()

    def state_dict(self) -> dict[str, Any]:
        states = {loss.name: loss.state_dict() for loss in self.losses if isinstance(loss, StatefulLoss)}
        return {"step": self.step} | ({"losses": states} if states else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]
        states = state.get("losses", {})
        for loss in self.losses:
            if isinstance(loss, StatefulLoss) and loss.name in states:
                loss.load_state_dict(states[loss.name])
