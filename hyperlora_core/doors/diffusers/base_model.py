"""The base model that a HyperLoRA is trained beside, as diffusers has it: UNet, VAE and text encoders, all frozen."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ... import files
from ...cache import Cache, digest
from ...errors import HyperLoRAError
from ...files import kinds

NAMED = {
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
    "ssd-1b": "segmind/SSD-1B",
    "vega": "segmind/Segmind-Vega",
    "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
}
"""Short names of base models -> what they are called on the Hugging Face hub."""

_WANTED = "give --base a diffusers folder (with model_index.json and .safetensors files), or a name on the hub"


class BaseModel:
    """SDXL, a model of its family (SSD-1B, Segmind Vega, fine-tuned ones), or Stable Diffusion 1.5.

    Attributes:
        pipeline: diffusers' own.
        unet: of the pipeline.
        device: where it is.
        sized: whether the UNet is told of the picture's size and cut, as SDXL's is.
        captions: encoded prompts that are kept, on the CPU; none unless its limit is raised.
        encodings: what the VAE makes of pictures, kept likewise.
    """

    def __init__(self, pipeline: Any, device: torch.device) -> None:
        from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

        self.sized = isinstance(pipeline, StableDiffusionXLPipeline)
        if not self.sized and not isinstance(pipeline, StableDiffusionPipeline):
            raise HyperLoRAError(
                f"the base model is one for {type(pipeline).__name__}: one of SDXL's family or Stable Diffusion 1.5 is "
                "needed"
            )
        self.pipeline, self.device = pipeline.to(device), device
        self.unet: nn.Module = pipeline.unet
        self.captions, self.encodings = Cache(), Cache()
        for part in pipeline.components.values():
            if isinstance(part, nn.Module):
                part.requires_grad_(False).eval()
        nn.Module.to(self.pipeline.vae, torch.float32)  # SDXL's own overflows in half precision
        self.pipeline.vae.enable_slicing()
        self.pipeline.set_progress_bar_config(disable=True)

    @classmethod
    def load(cls, path: str, device: torch.device | str, dtype: torch.dtype) -> "BaseModel":
        """Load it.

        Args:
            path: a diffusers folder, a ``.safetensors`` checkpoint, a name on the Hugging Face hub, or one of
                ``NAMED``.
            device: where it is put.
            dtype: of the UNet and the text encoders; the VAE is float32.

        Raises:
            HyperLoRAError: it cannot be loaded, or is of another family.
        """
        from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionXLPipeline

        if not path:
            raise HyperLoRAError(
                "no base model was named: give --base a diffusers folder, a name on the hub, or one of "
                f"{', '.join(NAMED)}"
            )
        given = Path(path)
        if not given.exists():
            path = NAMED.get(path, path)
        if not given.exists() and (given.suffix == ".safetensors" or given.is_absolute() or path.count("/") > 1):
            raise HyperLoRAError(f"there is no base model {path}")
        kind = kinds.recognise(given) if given.suffix == ".safetensors" else None
        if kind is not None and not kind.opens_as(kinds.CHECKPOINT):
            raise HyperLoRAError(f"{path} is {kind.name}, no base model: {_WANTED}")
        try:
            if given.suffix == ".safetensors":
                vae = AutoencoderKL.from_single_file(str(given), dtype=torch.float32)
                pipeline = StableDiffusionXLPipeline.from_single_file(str(given), dtype=dtype, vae=vae)
            else:
                pipeline = DiffusionPipeline.from_pretrained(
                    path,
                    dtype={"vae": torch.float32, "default": dtype},
                    use_safetensors=True,
                    local_files_only=given.is_dir(),
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise HyperLoRAError(f"the base model {path} cannot be loaded ({reason}): {_WANTED}") from error
        return cls(pipeline, torch.device(device))

    @property
    def latent_step(self) -> int:
        """Pixels a latent's side, 8 in SDXL."""
        return int(self.pipeline.vae_scale_factor)

    def noise_schedule(self) -> tuple[Tensor, str]:
        """The schedule that the UNet was trained with: ``alphas_cumprod`` ``(timesteps,)``, and what it predicts."""
        from diffusers import DDPMScheduler

        schedule = DDPMScheduler.from_config(self.pipeline.scheduler.config)
        return schedule.alphas_cumprod, schedule.config.prediction_type

    def few_step_schedule(self) -> Any:
        """diffusers' Euler sampler for pictures of few steps, whose first timestep is pure noise."""
        from diffusers import EulerDiscreteScheduler

        return EulerDiscreteScheduler.from_config(self.pipeline.scheduler.config, timestep_spacing="trailing")

    @torch.no_grad()
    def latents(self, pictures: Tensor, noise: Tensor) -> Tensor:
        """Pictures as latents, drawn from what the VAE thinks likely, or, where it is sure (TAESD), just that.

        Args:
            pictures: ``(B, 3, H, W)``, -1..1.
            noise: ``(B, C, h, w)`` standard normal numbers to draw with.

        Returns:
            ``(B, C, h, w)`` float32, scaled as the UNet takes them.
        """
        keys = [digest(picture) for picture in pictures] if self.encodings.limit else list(range(len(pictures)))
        likely = self.encodings.get_all(keys, lambda places: self._likely(pictures[places]))
        mean, spread = (torch.stack(part).to(self.device) for part in zip(*likely, strict=True))
        return (mean + spread * noise.to(mean)) * self.pipeline.vae.config.scaling_factor

    def _likely(self, pictures: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of each picture the mean and the spread of what the VAE thinks likely, ``(C, h, w)`` each."""
        with in_full(self.device):
            encoded = self.pipeline.vae.encode(pictures.to(self.device, torch.float32))
        if hasattr(encoded, "latents"):  # of a VAE without a spread, as TAESD is
            mean, spread = encoded.latents, torch.zeros_like(encoded.latents)
        else:
            mean, spread = encoded.latent_dist.mean, encoded.latent_dist.std
        return list(zip(self._to_keep(mean, self.encodings), self._to_keep(spread, self.encodings), strict=True))

    @staticmethod
    def _to_keep(values: Tensor, cache: Cache) -> list[Tensor]:
        """Rows that hold no others in memory, on the CPU where a cache keeps them."""
        return [row.cpu().clone() for row in values] if cache.limit else list(values)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """The shape of a picture's latents, ``(C, h, w)``."""
        channels = int(self.pipeline.vae.config.latent_channels)
        return channels, height // self.latent_step, width // self.latent_step

    def pictures(self, latents: Tensor) -> Tensor:
        """Latents as pictures, ``(B, 3, H, W)`` float32, about -1..1; gradients flow back."""
        vae = self.pipeline.vae
        with in_full(self.device):
            return vae.decode(latents.to(torch.float32) / vae.config.scaling_factor).sample

    def other_unet(self, path: str) -> nn.Module:
        """Another UNet for this model, frozen: one that draws in a few steps.

        Args:
            path: a diffusers folder, or a ``.safetensors`` file of a UNet of the same shape, as SDXL-Lightning's.

        Raises:
            HyperLoRAError: it cannot be loaded, or is of another shape.
        """
        from diffusers import UNet2DConditionModel

        own = next(self.unet.parameters())
        try:
            if Path(path).suffix == ".safetensors":
                with torch.device("meta"):
                    unet = UNet2DConditionModel.from_config(self.unet.config)
                unet.load_state_dict(files.open_safetensors(path).load(), assign=True)
            else:
                unet = UNet2DConditionModel.from_pretrained(path, use_safetensors=True)
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise HyperLoRAError(f"the UNet {path} cannot be loaded beside this base model ({reason})") from error
        return unet.to(own.device, own.dtype).requires_grad_(False).eval()

    @torch.no_grad()
    def unet_inputs(self, prompts: Sequence[str], sizes: Tensor) -> Mapping[str, Any]:
        """What the UNet is given beside latents and timesteps.

        Args:
            prompts: B texts; what is longer than the text encoders read is cut.
            sizes: ``(B, 6)``: the original picture's height and width, the cut's top and left corner in pixels of the
                target, the target's height and width. SDXL reads them, in float32: bfloat16 makes 1368 of 1365.
        """
        texts = self._encoded(prompts)
        if not self.sized:
            return {"encoder_hidden_states": texts[0]}
        conditions = {"text_embeds": texts[1], "time_ids": sizes.to(self.device, torch.float32)}
        return {"encoder_hidden_states": texts[0], "added_cond_kwargs": conditions}

    def _encoded(self, prompts: Sequence[str]) -> list[Tensor]:
        """Prompts as the UNet reads them, ``(B, tokens, width)``, and where it is sized their pooled ``(B, width)``."""

        def encoded(places: list[int]) -> list[list[Tensor]]:
            made = self.pipeline.encode_prompt(
                [prompts[place] for place in places],
                device=self.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=False,
            )
            parts = [made[0], made[2]] if self.sized else [made[0]]
            return [list(each) for each in zip(*(self._to_keep(part, self.captions) for part in parts), strict=True)]

        rows = self.captions.get_all(prompts, encoded)
        return [torch.stack(each).to(self.device) for each in zip(*rows, strict=True)]

    @torch.no_grad()
    def draw(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        size: tuple[int, int],
        steps: int = 20,
        guidance: float = 5.0,
        within: AbstractContextManager[None] | None = None,
    ) -> list[Image.Image]:
        """Draw a picture for each prompt.

        Args:
            prompts: texts.
            seeds: of each picture.
            size: height and width, pixels.
            steps: of sampling.
            guidance: weight of the prompt.
            within: a context to draw in, as ``LoRAInjection.active`` gives one; its LoRAs are one for all pictures.
        """
        with within or nullcontext():
            latents = self.pipeline(
                prompt=list(prompts),
                height=size[0],
                width=size[1],
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                output_type="latent",
            ).images
        return self.pipeline.image_processor.postprocess(self.pictures(latents), output_type="pil")


def in_full(device: torch.device) -> AbstractContextManager[Any]:
    """Within this context a device computes in float32, whatever autocast surrounds it."""
    kind = device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
