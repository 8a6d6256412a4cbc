"""The demo's base model, padded to SDXL's widths, gives in ComfyUI the numbers that it has in diffusers."""

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from demo.trained import folders
from demo.trained.base import SIZES
from demo.trained.padding import CONTEXT
from demo.trained.widening import wide_lora, widen
from hyperlora_core import HyperLoRA
from hyperlora_core.doors.diffusers.unet import LoRAInjection, attention_modules
from hyperlora_core.training.export import export
from hyperlora_core.training.fresh import fresh
from hyperlora_core.training.shape import NetworkShape

PROMPT = "photo of a person, red background, wearing a blue hoodie, zebra, smiling"
CLOSE = 1e-5
SHAPE = NetworkShape(
    bases=6, id_rank=4, base_rank=2, dim=32, heads=1, depth=1, id_tokens=4, id_embed_dim=24, clip_width=16
)


@pytest.fixture(scope="module")
def wide(comfy):
    """ComfyUI's MODEL, CLIP and VAE of the checkpoint, by its stock loader."""
    return comfy.sd.load_checkpoint_guess_config(str(folders.built() / folders.CHECKPOINT))[:3]


@pytest.fixture(scope="module")
def small():
    """diffusers' pipeline of the same base model, at its own widths."""
    return StableDiffusionXLPipeline.from_pretrained(folders.built() / folders.DIFFUSERS, dtype=torch.float32)


@pytest.fixture(scope="module")
def texts(wide, small):
    """The prompt's token and pooled embeddings, from ComfyUI and from diffusers."""
    in_comfyui = wide[1].encode_from_tokens(wide[1].tokenize(PROMPT), return_pooled=True)
    with torch.no_grad():
        in_diffusers = small.encode_prompt(
            PROMPT, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    return in_comfyui, (in_diffusers[0], in_diffusers[2])


def off(actual, expected):
    return float((actual - expected).abs().max() / expected.abs().max())


def unets(wide, small, texts, latents, timestep):
    """The predictions of ComfyUI's UNet and of diffusers'."""
    (in_comfyui, comfyui_pooled), (in_diffusers, diffusers_pooled) = texts
    model = wide[0].model
    added = model.encode_adm(pooled_output=comfyui_pooled, width=128, height=128, device="cpu")
    with torch.no_grad():
        actual = model.diffusion_model.float()(latents, torch.tensor([float(timestep)]), context=in_comfyui, y=added)
        conditions = {"text_embeds": diffusers_pooled, "time_ids": torch.tensor([SIZES], dtype=torch.float32)}
        expected = small.unet(
            latents, timestep, encoder_hidden_states=in_diffusers, added_cond_kwargs=conditions
        ).sample
    return actual, expected


def test_texts_are_the_same(texts):
    (in_comfyui, comfyui_pooled), (in_diffusers, diffusers_pooled) = texts
    assert off(in_comfyui[..., CONTEXT.index[0]], in_diffusers) < CLOSE
    assert (
        off(comfyui_pooled[:, : diffusers_pooled.shape[1]], diffusers_pooled) < CLOSE
        and not comfyui_pooled[:, 64:].any()
    )


@pytest.mark.parametrize("timestep", [20, 500, 980])
def test_what_the_unet_predicts_is_the_same(wide, small, texts, timestep):
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(timestep))
    actual, expected = unets(wide, small, texts, latents, timestep)
    assert off(actual, expected) < 2e-3, "queries are scaled, which rounds them once more in half precision"


def test_pictures_and_latents_are_the_same(wide, small):
    pixels = torch.rand(1, 128, 128, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latents = small.vae.encode(pixels.movedim(-1, 1) * 2 - 1).latents
        assert off(wide[2].encode(pixels) * 0.13025, latents) < CLOSE
        drawn = (small.vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)
        assert off(wide[2].decode(latents / 0.13025).movedim(-1, 1), drawn) < CLOSE


def test_a_widened_hyperlora_adds_what_the_small_one_adds(wide, small, texts, tmp_path):
    from hyperlora_core.doors.comfyui.patching import apply_lora
    from hyperlora_core.lora.value import LoRA

    network = fresh(SHAPE.config(attention_modules(small.unet)), seed=0)
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if ".up." in name:
                value.normal_(0, 0.3, generator=numbers)
    export(network.config, network.state_dict(), tmp_path / "small", dtype=torch.float32)
    widened = HyperLoRA.load(widen(tmp_path / "small", tmp_path / "wide"))
    embed = torch.nn.functional.normalize(torch.randn(1, 24, generator=numbers), dim=-1)
    tokens = torch.randn(1, 5, 16, generator=numbers)
    with torch.no_grad():
        rows = network.mix(network.id_rows(embed, tokens)[:, None])
        assert torch.equal(widened.mix(widened.id_rows(embed, tokens)[:, None]), rows)
        assert {name for name, _, _ in widened.id_bases(rows)} == {name for name, _, _ in network.id_bases(rows)}
        in_diffusers = {name: (down[0], up[0]) for name, down, up in network.id_bases(rows)}
        in_comfyui = LoRA.from_matrices(
            [(name, down[0], up[0]) for name, down, up in widened.id_bases(rows)], alpha=4.0
        )
    alone = wide_lora(LoRA.from_matrices([(name, *factors) for name, factors in in_diffusers.items()], alpha=4.0))
    assert alone.keys() == in_comfyui.keys()
    assert all(torch.allclose(alone[key], in_comfyui[key], atol=1e-6) for key in in_comfyui)
    latents = torch.randn(1, 4, 16, 16, generator=numbers)
    plain, _ = unets(wide, small, texts, latents, 400)
    injection = LoRAInjection(small.unet, list(in_diffusers))
    try:
        patched = apply_lora(wide[0], in_comfyui, 1.0)
        patched.patch_model()
        try:
            with injection.active(in_diffusers):
                actual, expected = unets(wide, small, texts, latents, 400)
        finally:
            patched.unpatch_model()
    finally:
        injection.remove()
    assert off(actual, expected) < 2e-3 and off(actual, plain) > 0.05
