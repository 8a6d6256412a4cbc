"""A small random checkpoint of the SDXL family and a ControlNet for it, which ComfyUI's stock loaders take.

The UNet has Segmind Vega's shape with all levels 320 wide, the VAE is TAESD's, the text encoders are SDXL's in full
size, for the stock loader knows no other. Run apart, as it imports ComfyUI: ``python -m demo.sdxl COMFYUI MODELS``.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

CHECKPOINT = "hyperlora_demo_sdxl.safetensors"
CONTROLNET = "hyperlora_demo_controlnet.safetensors"

LATENT_SCALE = 0.13025  # SDXL's

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "channel_mult": [1, 1, 1],
    "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 1, 1, 2, 2],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "transformer_depth_middle": -1,
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
    "num_heads": -1,
    "num_head_channels": 64,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
    "legacy": False,
}


def randomised(module: nn.Module, gain: float, seed: int) -> dict[str, Tensor]:
    """A state dict of random weights in half precision, scaled so that activations stay of one size."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            state[name] = tensor
        elif tensor.ndim < 2:
            state[name] = torch.full(tensor.shape, float(_is_scale(name)), dtype=torch.float16)
        else:
            spread = 0.02 if "embed" in name else gain / tensor[0].numel() ** 0.5
            state[name] = torch.randn(tensor.shape, generator=generator).mul_(spread).half()
    return state


def _is_scale(name: str) -> bool:
    """Whether a vector is a norm's scale, which starts at one, rather than a bias."""
    return name.endswith("weight")


def randomised_vae(vae: nn.Module) -> dict[str, Tensor]:
    """A random TAESD whose pictures are neither flat nor burnt out."""
    vae.load_state_dict(randomised(vae, gain=1.4, seed=3))
    vae.float()
    last = vae.taesd_decoder[-1]
    latents = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.7  # as the UNet's
    last.weight *= 0.15 / vae.taesd_decoder(latents).std(dim=(0, 2, 3))[:, None, None, None]
    last.bias += 0.5 - vae.taesd_decoder(latents).mean(dim=(0, 2, 3))
    vae.vae_scale.fill_(LATENT_SCALE)
    return {name: value.half() for name, value in vae.state_dict().items()}


def make_checkpoint(path: Path) -> None:
    """UNet, text encoders and VAE in one file, as SDXL checkpoints are."""
    import comfy.sdxl_clip
    import comfy.supported_models
    from comfy.taesd.taesd import TAESD

    config = comfy.supported_models.Segmind_Vega(dict(UNET))
    config.set_inference_dtype(torch.float32, None)
    unet = randomised(config.get_model({}).diffusion_model, gain=1.0, seed=1)
    last = unet["out.2.weight"].float()
    unet["out.2.weight"] = ((last - last.mean(dim=(1, 2, 3), keepdim=True)) * 0.5).half()  # latents near normal ones
    clip = comfy.sdxl_clip.SDXLClipModel(device="cpu", dtype=torch.float16)
    texts = config.process_clip_state_dict_for_saving(randomised(clip, gain=1.0, seed=2))
    vae = randomised_vae(TAESD(latent_channels=4))
    _save(
        {f"model.diffusion_model.{name}": value for name, value in unet.items()}
        | texts
        | {
            "v_pred": torch.zeros(1)
        }  # a random network keeps its latents in bounds by predicting v, not by predicting noise
        | {f"first_stage_model.{name}": value for name, value in vae.items()},
        path,
    )


def make_controlnet(path: Path) -> None:
    """A ControlNet of the checkpoint's UNet."""
    from comfy.cldm.cldm import ControlNet

    shape = {name: value for name, value in UNET.items() if name != "out_channels"}
    _save(randomised(ControlNet(**shape, hint_channels=3, device="cpu"), gain=1.0, seed=4), path)


def _save(state: Mapping[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in state.items()}, path)


def main(comfyui: str, models: str) -> None:
    """Make both files below a ``models`` folder."""
    sys.path.insert(0, comfyui)
    from comfy.cli_args import args

    args.cpu = True
    with torch.no_grad():
        make_checkpoint(Path(models) / "checkpoints" / CHECKPOINT)
        make_controlnet(Path(models) / "controlnet" / CONTROLNET)


if __name__ == "__main__":
    main(*sys.argv[1:])
