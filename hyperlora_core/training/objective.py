"""The loss: how well the UNet, with the generated LoRAs beside its weights, tells the noise in a picture.

Shapes: B samples; latents ``(B, C, H, W)``. Min-SNR weights: Hang et al., arXiv 2303.09556. Noise offset:
N. Guttenberg, "Diffusion with offset noise".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import HyperLoRAError
from . import counter

PREDICTIONS = ("epsilon", "v_prediction")


def check_noise(min_snr_gamma: float | None, noise_offset: float) -> None:
    """Refuse what ``Objective`` cannot be told.

    Raises:
        HyperLoRAError: a value cannot be.
    """
    if min_snr_gamma is not None and not min_snr_gamma > 0:
        raise HyperLoRAError(
            f"min_snr_gamma is {min_snr_gamma:g}, by which every weight would be 0: give a number above 0, or none for "
            "equal weights"
        )
    if not noise_offset >= 0:
        raise HyperLoRAError(f"noise_offset is {noise_offset:g}: 0 or more was expected")


@dataclass(frozen=True)
class Objective:
    """How samples are noised, and what the UNet is asked for.

    Attributes:
        alphas_cumprod: the noise schedule, ``(timesteps,)``, falling from 1 to 0.
        prediction: what the UNet predicts, "epsilon" or "v_prediction".
        min_snr_gamma: cap of the signal-to-noise ratio in the weights; None for equal weights.
        noise_offset: standard deviation of what is added to each channel as a whole; 0 adds nothing.

    Raises:
        HyperLoRAError: a value cannot be.
    """

    alphas_cumprod: Tensor
    prediction: str = "epsilon"
    min_snr_gamma: float | None = None
    noise_offset: float = 0.0

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise HyperLoRAError(f"the prediction {self.prediction!r} is unknown: one of {', '.join(PREDICTIONS)}")
        check_noise(self.min_snr_gamma, self.noise_offset)

    def timesteps(self, seed: int, samples: Sequence[int]) -> Tensor:
        """A timestep for each sample, each as likely: ``(B,)`` int64."""
        return counter.integers(seed, samples, "timestep", len(self.alphas_cumprod))

    def noise(self, seed: int, samples: Sequence[int], like: Tensor) -> Tensor:
        """The noise of each sample, in the shape, type and on the device of ``like``, ``(B, C, H, W)``."""
        drawn = counter.normal(seed, samples, "noise", like.shape[1:])
        if self.noise_offset:
            drawn += self.noise_offset * counter.normal(seed, samples, "offset", (like.shape[1], 1, 1))
        return drawn.to(like)

    def noised(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Latents with the noise of their timesteps: ``sqrt(a) * latents + sqrt(1 - a) * noise``."""
        signal, spread = self._parts(timesteps, latents)
        return signal * latents + spread * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the UNet should predict, ``(B, C, H, W)``."""
        if self.prediction == "epsilon":
            return noise
        signal, spread = self._parts(timesteps, latents)
        return signal * noise - spread * latents

    def clean(self, noised: Tensor, predicted: Tensor, timesteps: Tensor) -> Tensor:
        """What a prediction says that latents were before they were noised, ``(B, C, H, W)``.

        Args:
            noised: as ``noised`` gives them.
            predicted: likewise, what the UNet made of them.
            timesteps: ``(B,)``; of the last ones little but noise is seen, and so the less is known.
        """
        signal, spread = self._parts(timesteps, noised)
        predicted = predicted.to(noised)
        if self.prediction == "epsilon":
            return (noised - spread * predicted) / signal
        return signal * noised - spread * predicted

    def losses(self, predicted: Tensor, target: Tensor, timesteps: Tensor, weights: Tensor | None = None) -> Tensor:
        """The loss of each sample, ``(B,)`` float32: the mean square, weighed by its timestep.

        Args:
            predicted, target: ``(B, C, H, W)``.
            timesteps: ``(B,)``.
            weights: of the places in that mean, ``(B, 1, H, W)``; None where all weigh the same.
        """
        squares = (predicted.float() - target.float()).square()
        if weights is not None:
            squares = squares * (weights / weights.mean(dim=(2, 3), keepdim=True)).to(squares)
        of_samples = squares.mean(dim=(1, 2, 3))
        return of_samples * self.weights(timesteps).to(of_samples)

    def weights(self, timesteps: Tensor) -> Tensor:
        """The weight of each timestep, ``(B,)`` float32."""
        if self.min_snr_gamma is None:
            return torch.ones(len(timesteps))
        alphas = self.alphas_cumprod[timesteps.cpu()].double()
        ratio = alphas / (1 - alphas)
        over = ratio if self.prediction == "epsilon" else ratio + 1
        return (ratio.clamp(max=self.min_snr_gamma) / over).float()

    def _parts(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self.alphas_cumprod[timesteps.cpu()].to(like)[:, None, None, None]
        return alphas.sqrt(), (1 - alphas).sqrt()
