"""Masks where another node changes the size of the picture inside the UNet, or rearranges its tokens."""

import pytest
import torch
from torch.nn import functional as F

from hyperlora_core import HyperLoRAError
from tests.host.in_process.sampling import STRENGTH, check, error, half, noise, patched, random_lora, sample


def shrunk(model, factor: float, block: int = 3):
    from comfy_extras.nodes_model_downscale import PatchModelAddDownscale

    return PatchModelAddDownscale.execute(model, block, factor, 0.0, 1.0, True, "bicubic", "bicubic")[0]


@pytest.mark.parametrize(("factor", "size"), [(1.5, (16, 16)), (2.0, (18, 26)), (2.7, (34, 20)), (0.8, (16, 24))])
def test_deep_shrink_by_any_factor(base, strong_people, door, factor, size):
    start = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(1))
    ones = door.add_layers(base, door.in_regions(strong_people[:1], [torch.ones(1, 9, 7)], STRENGTH))
    check(
        "after it",
        sample(shrunk(ones, factor), start=start),
        sample(shrunk(patched(base, strong_people[0]), factor), start=start),
    )
    none = [door.Layer(strong_people[0], STRENGTH, mask=torch.zeros(1, 8, 8))]
    check(
        "before it",
        sample(door.add_layers(shrunk(base, factor), none), start=start),
        sample(shrunk(base, factor), start=start),
    )


def test_deep_shrink_has_the_mask_where_the_picture_is(comfy, base, door):
    """Computed here by a hook on each self-attention, with the mask at the size of its transformer's input."""
    from comfy.ldm.modules.attention import SpatialTransformer

    from hyperlora_core.doors.comfyui.patching import fitting

    lora, mask, now = random_lora(base, 4, 0.6, "attn1"), half("left"), {}
    model = shrunk(door.add_layers(base, [door.Layer(lora, STRENGTH, mask=mask)]), 1.5)
    actual = sample(model, start=noise(2, size=24))

    def painted() -> torch.Tensor:
        latent = F.interpolate(mask[None], size=(24, 24), mode="bilinear", antialias=True)
        return F.interpolate(latent, size=now["size"], mode="bilinear", antialias=True).flatten()[:, None]

    handles = [
        module.register_forward_pre_hook(lambda module, args: now.update(size=args[0].shape[-2:]))
        for module in base.model.modules()
        if isinstance(module, SpatialTransformer)
    ]
    for key, factors in fitting(base, lora).items():
        product = STRENGTH * factors.scale * factors.up @ factors.down
        linear = base.model.get_submodule(key.removesuffix(".weight"))
        handles.append(
            linear.register_forward_hook(lambda module, args, y, w=product: y + painted() * (args[0] @ w.mT))
        )
    try:
        expected = sample(shrunk(base, 1.5), start=noise(2, size=24))
    finally:
        for handle in handles:
            handle.remove()
    check("by hand", actual, expected)
    assert error(sample(shrunk(base, 1.5), start=noise(2, size=24)), expected) > 1e-4


def test_what_rearranges_tokens_is_named_with_what_was_found(base, strong_people, door):
    from comfy_extras.nodes_hypertile import HyperTile

    tiled = shrunk(HyperTile.execute(base, 64, 1, 2, False)[0], 1.5, block=8)
    regions = door.add_layers(tiled, door.in_regions(strong_people[:1], [torch.ones(1, 8, 8)]))
    with pytest.raises(HyperLoRAError) as caught:
        sample(regions, start=noise(1, size=32))
    text = str(caught.value)
    assert "rows of" in text and "the picture there is 2 rows 16 x 16 (a latent of 32 x 32)" in text
    assert "blocks: HyperTile, PatchModelAddDownscale. Take it out" in text and "ToMe" not in text
