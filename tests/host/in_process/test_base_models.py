"""Which UNets a LoRA fits: SDXL's with all its targets, as other tools read them too; others are refused by name."""

from dataclasses import replace

import pytest
import torch

from hyperlora_core import (
    HyperLoRAError,
    LoRA,
)
from tests.host.in_process.sampling import apply
from tests.host.in_process.unets import VEGA, patcher

SD15 = VEGA | {
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "adm_in_channels": None,
    "num_classes": None,
    "use_linear_in_transformer": False,
}
SDXL = VEGA | {
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
}
SSD1B = SDXL | {
    "transformer_depth": [0, 0, 2, 2, 4, 4],
    "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
    "transformer_depth_middle": -1,
}
REFINER = VEGA | {
    "model_channels": 384,
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [0, 0, 4, 4, 4, 4, 0, 0],
    "transformer_depth_output": [0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0],
    "transformer_depth_middle": 4,
    "context_dim": 1280,
    "adm_in_channels": 2560,
}

FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": 64,
    "context_in_dim": 64,
    "hidden_size": 128,
    "mlp_ratio": 4.0,
    "num_heads": 1,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": False,
    "txt_ids_dims": [],
    "dtype": torch.float32,
}


def test_another_base_model_is_refused_by_name(comfy, lora):
    sd15 = patcher(comfy, "SD15", SD15, device="meta")
    with pytest.raises(HyperLoRAError, match=r"0 of its 120 targets fit SD 1\.5 \(.* is 1280 x 1280 instead of 320"):
        apply(sd15, lora, 0.8)
    with pytest.raises(HyperLoRAError, match=r"not one of this LoRA's \d+ tensors fits SD 1\.5"):
        apply(sd15, {"some.other.weight": torch.zeros(1)}, 0.8)


def test_a_base_model_with_the_same_names_but_other_widths_is_refused(comfy, vega, lora):
    wide = patcher(comfy, "Segmind_Vega", VEGA | {"channel_mult": [1, 1, 2]}, device="meta")
    with pytest.raises(HyperLoRAError, match=r"of its 120 targets fit Segmind Vega \(.* instead of 320 x 320"):
        apply(wide, lora, 0.8)


def test_a_base_model_without_attention_names_is_refused(comfy, lora):
    flux = patcher(comfy, "Flux", FLUX, device="meta")
    with pytest.raises(HyperLoRAError, match="0 of its 120 targets fit Flux"):
        apply(flux, lora, 0.8)


@pytest.fixture(scope="module")
def sdxl_unet():
    """diffusers' full-size SDXL UNet on the meta device."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )


@pytest.fixture(scope="module")
def sdxl_lora(sdxl_unet):
    """A LoRA of rank 1 on each attention projection of full-size SDXL."""
    layers = [
        (name, layer)
        for name, layer in sdxl_unet.named_modules()
        if isinstance(layer, torch.nn.Linear) and ".attn" in name
    ]
    ones = ((name, torch.ones(1, layer.in_features), torch.ones(layer.out_features, 1)) for name, layer in layers)
    return LoRA.from_matrices(ones, alpha=1.0, metadata={"ss_base_model_version": "sdxl_base_v1-0"})


def test_all_560_targets_of_sdxl_are_found_by_both_doors(comfy, sdxl_unet, sdxl_lora):
    from hyperlora_core.doors.diffusers.unet import LoRAInjection

    names = [name for name, _ in sdxl_lora.factors()]
    assert len(names) == 560
    LoRAInjection(sdxl_unet, names).remove()
    sdxl = patcher(comfy, "SDXL", SDXL, device="meta")
    patches = apply(sdxl, sdxl_lora, 1.0).patches
    assert len(patches) == 560
    by_comfyui = comfy.lora.model_lora_keys_unet(sdxl.model, {})
    stems = {key.removesuffix(".lora_down.weight") for key in sdxl_lora if key.endswith("down.weight")}
    assert {by_comfyui[stem] for stem in stems} == patches.keys()


def test_what_is_saved_is_what_other_tools_load(comfy, sdxl_unet, sdxl_lora, tmp_path):
    """ComfyUI and diffusers load it bit for bit; the key stems are A1111's names of the UNet's modules."""
    from diffusers import StableDiffusionXLPipeline
    from safetensors.torch import load_file

    numbers = {n: replace(f, down=torch.randn_like(f.down), up=torch.randn_like(f.up)) for n, f in sdxl_lora.factors()}
    numbered = LoRA.of_factors(numbers)
    path = numbered.save(tmp_path / "person.safetensors")
    sdxl = patcher(comfy, "SDXL", SDXL, device="meta")
    ours = apply(sdxl, numbered, 0.8).patches
    stock, _ = comfy.sd.load_lora_for_models(sdxl, None, comfy.utils.load_torch_file(str(path)), 0.8, 0.0)
    assert stock.patches.keys() == ours.keys() and len(ours) == 560
    for key, ((strength, adapter, *_),) in stock.patches.items():
        ((our_strength, our_adapter, *_),) = ours[key]
        up, down, alpha = adapter.weights[:3]
        our_up, our_down, our_alpha = our_adapter.weights[:3]
        assert (strength, float(alpha)) == (our_strength, float(our_alpha))
        assert torch.equal(up, our_up) and torch.equal(down, our_down)

    stems = {key.partition(".")[0] for key in load_file(path)}
    a1111 = {f"lora_unet_{name.replace('.', '_')}" for name, _ in sdxl.model.diffusion_model.named_modules()}
    assert len(stems) == 560 and stems <= a1111

    state, alphas = StableDiffusionXLPipeline.lora_state_dict(path, unet_config=sdxl_unet.config)
    assert len(state) == 1120 and len(alphas) == 560
    for name, factors in numbered.factors():
        attention, projection = name.removesuffix(".0").rsplit(".", 1)
        down, up = (f"unet.{attention}.processor.{projection}_lora.{way}.weight" for way in ("down", "up"))
        assert torch.equal(state[down], factors.down) and torch.equal(state[up], factors.up)
        assert alphas[f"{down}.alpha"] == factors.alpha


@pytest.mark.parametrize(
    ("kind", "shape", "name", "fit"), [("SSD1B", SSD1B, "SSD-1B", 272), ("SDXLRefiner", REFINER, "the SDXL refiner", 0)]
)
def test_a_relative_of_sdxl_is_refused_by_name(comfy, sdxl_lora, kind, shape, name, fit):
    relative = patcher(comfy, kind, shape, device="meta")
    with pytest.raises(HyperLoRAError, match=rf"{fit} of its 560 targets fit {name} \(") as caught:
        apply(relative, sdxl_lora, 0.8)
    assert str(caught.value).endswith("Use the kind of base model it was made for: sdxl_base_v1-0")
