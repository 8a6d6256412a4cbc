"""Models of ComfyUI with random weights, and shapes of UNets."""

import torch

from demo import sdxl

VEGA = sdxl.UNET | {"dtype": torch.float32}
"""A small model of the SDXL family: Segmind Vega's shape, 320 wide throughout."""
SMALL = VEGA | {"model_channels": 64}
"""The same 64 wide, which samples in a tenth of the time."""


def patcher(
    comfy,
    kind: str,
    unet_config: dict,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    compute: torch.dtype = torch.float32,
):
    """A MODEL of a kind and shape with the same random weights each time."""
    torch.manual_seed(0)
    config = getattr(comfy.supported_models, kind)(unet_config | {"dtype": dtype})
    config.set_inference_dtype(dtype, None if dtype == compute else compute)
    model = config.get_model({}, device=device)
    if device == "cpu":
        # A LoRA's effect is the same at each width.
        spread = 0.05 * (320 / unet_config["model_channels"]) ** 0.5
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape) * spread)
    return comfy.model_patcher.ModelPatcher(model, torch.device(device), torch.device(device))
