"""CLIP: the tokens are transformers', whichever layout a file has; the preprocessing is transformers' on PIL."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from hyperlora_core.clip.vision import ClipVision
from hyperlora_core.errors import HyperLoRAError

State = dict[str, Tensor]

SHAPES = [
    {"hidden_size": 128, "num_attention_heads": 2, "patch_size": 14, "image_size": 56, "num_hidden_layers": 3},
    {"hidden_size": 64, "num_attention_heads": 1, "patch_size": 32, "image_size": 96, "num_hidden_layers": 4},
    {"hidden_size": 192, "num_attention_heads": 3, "patch_size": 16, "image_size": 32, "num_hidden_layers": 2},
    {"hidden_size": 64, "num_attention_heads": 1, "patch_size": 14, "image_size": 28, "num_hidden_layers": 1},
]
# 448 * (453 / 448) is less than 453 in floating point, and open_clip truncates it
MLP_RATIO = {"hidden_size": 448, "num_attention_heads": 7, "patch_size": 14, "image_size": 28, "num_hidden_layers": 2}
SHAPES.append({**MLP_RATIO, "intermediate_size": 453})
TINY = SHAPES[0]


def whole_clip(shape: dict[str, int], **settings: object) -> CLIPModel:
    """A random CLIP, text encoder and all, whose every tensor differs from its neutral value."""
    vision = {"intermediate_size": 3 * shape["hidden_size"] + 1, **shape, **settings}
    text = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 5, "num_attention_heads": 1}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(vision_config=vision, text_config={**text, "vocab_size": 99}, projection_dim=64)
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def expected(model: CLIPModel, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return model.vision_model(pixels, output_hidden_states=True).hidden_states[-2]


def pixels_for(shape: dict[str, int], count: int = 2) -> Tensor:
    return torch.randn(count, 3, shape["image_size"], shape["image_size"], generator=torch.Generator().manual_seed(1))


def relative(result: Tensor, target: Tensor) -> float:
    assert result.shape == target.shape
    return float((result - target).abs().max() / target.abs().max())


def tensors(model: CLIPModel) -> State:
    return {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}


def with_prefix(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def vision_part(model: CLIPModel) -> State:
    return {name: tensor for name, tensor in tensors(model).items() if name.startswith(("vision_", "visual_"))}


def open_clip_state(model: CLIPModel) -> State:
    """open_clip's own model with the same tower: its own names, and its text tower beside it."""
    vision = model.config.vision_config
    tower = CLIPVisionCfg(
        layers=vision.num_hidden_layers,
        width=vision.hidden_size,
        head_width=vision.hidden_size // vision.num_attention_heads,
        mlp_ratio=(vision.intermediate_size + 0.5) / vision.hidden_size,
        patch_size=vision.patch_size,
        image_size=vision.image_size,
    )
    clip = CLIP(64, tower, CLIPTextCfg(vocab_size=99, width=64, heads=1, layers=5), quick_gelu=True)
    theirs, ours = tensors(model), clip.visual
    embeddings = "vision_model.embeddings."
    state = {
        "class_embedding": theirs[embeddings + "class_embedding"],
        "positional_embedding": theirs[embeddings + "position_embedding.weight"],
        "conv1.weight": theirs[embeddings + "patch_embedding.weight"],
        "proj": theirs["visual_projection.weight"].T,
    }
    for kind in ("weight", "bias"):
        state[f"ln_pre.{kind}"] = theirs[f"vision_model.pre_layrnorm.{kind}"]
        state[f"ln_post.{kind}"] = theirs[f"vision_model.post_layernorm.{kind}"]
        for i in range(vision.num_hidden_layers):
            block, layer = f"transformer.resblocks.{i}.", f"vision_model.encoder.layers.{i}."
            heads = [theirs[f"{layer}self_attn.{part}_proj.{kind}"] for part in ("q", "k", "v")]
            state[f"{block}attn.in_proj_{kind}"] = torch.cat(heads)
            state[f"{block}attn.out_proj.{kind}"] = theirs[f"{layer}self_attn.out_proj.{kind}"]
            state[f"{block}ln_1.{kind}"] = theirs[f"{layer}layer_norm1.{kind}"]
            state[f"{block}ln_2.{kind}"] = theirs[f"{layer}layer_norm2.{kind}"]
            state[f"{block}mlp.c_fc.{kind}"] = theirs[f"{layer}mlp.fc1.{kind}"]
            state[f"{block}mlp.c_proj.{kind}"] = theirs[f"{layer}mlp.fc2.{kind}"]
    ours.load_state_dict(state)
    return {name: tensor.contiguous().clone() for name, tensor in clip.state_dict().items()}


def open_clip_tower(model: CLIPModel) -> State:
    state = open_clip_state(model)
    return {name.removeprefix("visual."): state[name] for name in state if name.startswith("visual.")}


LAYOUTS: dict[str, Callable[[CLIPModel], State]] = {
    "transformers, vision model": vision_part,
    "transformers, whole CLIP": tensors,
    "transformers, prefix model.": lambda model: with_prefix(tensors(model), "model."),
    "transformers, prefix clip.": lambda model: with_prefix(vision_part(model), "clip."),
    "transformers 5, bare": lambda model: {
        name.removeprefix("vision_model."): tensor for name, tensor in vision_part(model).items()
    },
    "open_clip, whole": open_clip_state,
    "open_clip, tower": open_clip_tower,
    "open_clip, prefix embedder.model.": lambda model: with_prefix(open_clip_state(model), "embedder.model."),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clip.safetensors"


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_tokens_are_transformers(file: Path, layout: str, shape: dict[str, int]) -> None:
    model = whole_clip(shape)
    save_file(LAYOUTS[layout](model), file)
    clip, pixels = ClipVision.load(file), pixels_for(shape)
    assert relative(clip.tokens(pixels), expected(model, pixels)) < 1e-5
    assert (clip.width, clip.image_size) == (shape["hidden_size"], shape["image_size"])
    assert clip.tokens(pixels).shape[1] == 1 + (shape["image_size"] // shape["patch_size"]) ** 2
    assert len(clip.model.blocks) == shape["num_hidden_layers"] - 1


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_act": "gelu"},
        {"num_attention_heads": 4},
        {"layer_norm_eps": 1e-2},
        {"hidden_size": 96, "num_attention_heads": 3},
    ],
    ids=str,
)
def test_folder_gives_what_shapes_do_not_tell(tmp_path: Path, settings: dict[str, object], whole: bool) -> None:
    model = whole_clip(TINY, **settings)
    if whole:
        model.save_pretrained(tmp_path)
    else:
        tower = CLIPVisionModelWithProjection(
            CLIPVisionConfig(**{**model.config.vision_config.to_dict(), "projection_dim": 64})
        )
        tower.load_state_dict(model.state_dict(), strict=False)
        tower.save_pretrained(tmp_path)
    target = expected(model, pixels_for(TINY))
    for path in (tmp_path, str(tmp_path), tmp_path / "model.safetensors"):
        assert relative(ClipVision.load(path).tokens(pixels_for(TINY)), target) < 1e-5


@pytest.mark.long
def test_full_size_vit_l(file: Path) -> None:
    config = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        patch_size=14,
        projection_dim=768,
    )
    with torch.device("meta"):  # transformers' own initialisation takes ten seconds
        model = CLIPVisionModelWithProjection(config).eval()
    torch.manual_seed(0)
    state = {
        name: (torch.randn(tensor.shape) * 0.02 + ("norm" in name)).half()
        for name, tensor in model.state_dict().items()
    }
    save_file(state, file)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    model.vision_model.embeddings.position_ids = torch.arange(257)[None]
    clip = ClipVision.load(file)
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        target = model(pixels, output_hidden_states=True).hidden_states[-2]
    assert relative(clip.tokens(pixels), target) < 1e-5
    assert clip.describe() == "ViT-L/14 at 224, 24 layers"
    assert (clip.width, clip.tokens(pixels).shape[1], clip.image_size) == (1024, 257, 224)


@pytest.mark.parametrize(("width", "activation", "heads"), [(1024, "quick_gelu", 16), (1280, "gelu", 16)])
def test_a_file_alone_is_taken_for_the_public_tower_of_its_width(
    file: Path, width: int, activation: str, heads: int
) -> None:
    shape = {"hidden_size": width, "num_attention_heads": heads, "patch_size": 14, "image_size": 28}
    model = whole_clip({**shape, "num_hidden_layers": 2}, hidden_act=activation)
    save_file(vision_part(model), file)
    assert relative(ClipVision.load(file).tokens(pixels_for(shape)), expected(model, pixels_for(shape))) < 1e-5


def test_half_files_are_computed_in_the_type_asked_for(file: Path) -> None:
    model = whole_clip(TINY).half().float()
    save_file({name: tensor.half() for name, tensor in tensors(model).items()}, file)
    pixels = pixels_for(TINY)
    clip = ClipVision.load(str(file))
    assert {parameter.dtype for parameter in clip.model.parameters()} == {torch.float16}
    assert relative(clip.tokens(pixels), expected(model, pixels)) < 1e-5
    for dtype, tolerance in ((torch.float16, 5e-3), (torch.bfloat16, 5e-2)):
        tokens = ClipVision.load(file, "cpu", dtype).tokens(pixels)
        assert tokens.dtype == torch.float32
        assert 0 < relative(tokens, expected(model, pixels)) < tolerance


def test_a_host_is_told_before_the_tower_computes(file: Path) -> None:
    save_file(tensors(whole_clip(TINY)), file)
    clip, told = ClipVision.load(file), []
    clip.before_use = told.append
    clip.tokens(pixels_for(TINY))
    assert told == [clip.model]


def test_tokens_can_be_trained_on(file: Path) -> None:
    save_file(tensors(whole_clip(TINY)), file)
    tokens = ClipVision.load(file).tokens(pixels_for(TINY))
    assert not tokens.requires_grad
    projection = torch.nn.Linear(tokens.shape[-1], 4)
    projection(tokens).sum().backward()


def test_a_batch_is_its_pictures_one_by_one(file: Path) -> None:
    save_file(tensors(whole_clip(TINY)), file)
    clip, pixels = ClipVision.load(file), pixels_for(TINY, 5)
    singles = torch.cat([clip.tokens(pixels[i : i + 1]) for i in range(5)])
    assert relative(clip.tokens(pixels), singles) < 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_stay_mapped_and_unread_ones_unread(file: Path, layout: str) -> None:
    state = {name: tensor.half() for name, tensor in LAYOUTS[layout](whole_clip(TINY)).items()}
    for name in state:
        if name.endswith(("layers.2.mlp.fc1.weight", "resblocks.2.mlp.c_fc.weight", "post_layernorm.weight")):
            state[name] = torch.zeros(0)
    save_file(state, file)
    clip = ClipVision.load(file)
    assert clip.describe() == "ViT 128 wide, patch 14 at 56, 3 layers"
    maps = Path("/proc/self/maps")
    if maps.exists():
        ranges = [line.split()[0].split("-") for line in maps.read_text().splitlines() if line.endswith(file.name)]
        for parameter in clip.model.parameters():
            address = parameter.data_ptr()
            assert any(int(start, 16) <= address < int(end, 16) for start, end in ranges)


SIZES = [(300, 500), (500, 300), (156, 155), (155, 156), (1000, 1), (1, 1000), (10, 13), (1, 1), (224, 224)]
SIZES += [(225, 224), (224, 227), (447, 448), (333, 777), (1023, 641), (57, 56), (2047, 1999)]


def picture(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.fixture(params=[224, 56, 45])
def processor_and_clip(request: pytest.FixtureRequest, file: Path) -> tuple[CLIPImageProcessorPil, ClipVision]:
    side, patch = request.param, 15 if request.param == 45 else 14
    shape = {**TINY, "patch_size": patch, "image_size": side, "num_hidden_layers": 1}
    save_file(vision_part(whole_clip(shape)), file)
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    return CLIPImageProcessorPil(**sizes), ClipVision.load(file)


@pytest.mark.long
def test_preprocess_is_transformers(processor_and_clip: tuple[CLIPImageProcessorPil, ClipVision]) -> None:
    processor, clip = processor_and_clip
    images = [picture(size) for size in SIZES] + [picture((91, 65), mode) for mode in ("L", "RGBA", "P", "CMYK", "1")]
    pixels = clip.preprocess(images)
    assert pixels.dtype == torch.float32
    assert pixels.shape == (len(images), 3, clip.image_size, clip.image_size)
    for image, values in zip(images, pixels, strict=True):
        target = processor(image, return_tensors="pt")["pixel_values"][0]
        assert torch.allclose(values, target, rtol=0, atol=2e-6), (image.size, image.mode)


def test_pictures_that_cannot_be_looked_at(file: Path) -> None:
    save_file(tensors(whole_clip(TINY)), file)
    clip = ClipVision.load(file)
    for size in ((0, 5), (5, 0), (1, 1001), (3003, 1)):
        with pytest.raises(HyperLoRAError, match=f"{size[0]} x {size[1]} pixels"):
            clip.preprocess([picture((9, 9)), Image.new("RGB", size)])
    with pytest.raises(HyperLoRAError, match="no picture"):
        clip.preprocess([])


@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (3, 56, 56), (1, 56, 56, 3), (0, 3, 56, 56), (1, 1, 56, 56)])
def test_pixel_values_of_another_shape_name_the_one_needed(file: Path, shape: tuple[int, ...]) -> None:
    save_file(tensors(whole_clip(TINY)), file)
    with pytest.raises(HyperLoRAError, match=r"\(batch, 3, 56, 56\) is needed"):
        ClipVision.load(file).tokens(torch.zeros(shape))


def broken(change: Callable[[State], object]) -> State:
    state = vision_part(whole_clip(TINY))
    change(state)
    return state


LAYER = "vision_model.encoder.layers.1."
POSITIONS = "vision_model.embeddings.position_embedding.weight"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            lambda: {"lora_unet_x.lora_down.weight": torch.zeros(2, 2)},
            "it is a LoRA in kohya's format: put it into models/loras",
        ),
        (lambda: {}, "has nothing"),
        (
            lambda: {name: t for name, t in tensors(whole_clip(TINY)).items() if name.startswith("text_")},
            "it is a CLIP text encoder: the vision model of the same CLIP is needed",
        ),
        (lambda: broken(lambda s: s.pop(LAYER + "mlp.fc2.bias")), r"layers\.1\.mlp\.fc2\.bias is missing$"),
        (
            lambda: broken(lambda s: s.pop(LAYER + "self_attn.k_proj.weight")),
            r"1\.self_attn\.k_proj\.weight is missing$",
        ),
        (lambda: broken(lambda s: [s.pop(n) for n in list(s) if LAYER in n]), "is missing; .*, and 12 more"),
        (lambda: broken(lambda s: [s.pop(n) for n in list(s) if "encoder" in n]), r"layers\.0\.mlp.* is missing"),
        (
            lambda: broken(lambda s: s.pop("vision_model.embeddings.patch_embedding.weight")),
            "patch_embedding.* is missing",
        ),
        (lambda: broken(lambda s: s.update({POSITIONS: torch.zeros(16, 128)})), "has 16 positions"),
        (lambda: broken(lambda s: s.update({POSITIONS: torch.zeros(17, 64)})), r"\(17, 64\) instead of \(17, 128\)"),
        (lambda: broken(lambda s: s.update({POSITIONS: torch.zeros(17)})), "2 dimensions were expected"),
        (
            lambda: broken(lambda s: s.update({LAYER.replace("1", "0") + "gamma": torch.ones(3)})),
            "gamma belongs to a kind",
        ),
        (lambda: vision_part(whole_clip({**TINY, "hidden_size": 200})), r"200 wide, .* heads \(of 64\)"),
        (lambda: vision_part(whole_clip({**TINY, "hidden_size": 32})), r"32 wide, .* heads \(of 64\)"),
    ],
)
def test_a_wrong_file_is_named(file: Path, state: Callable[[], State], message: str) -> None:
    save_file(state(), file)
    with pytest.raises(HyperLoRAError, match=message) as caught:
        ClipVision.load(file)
    assert str(file) in str(caught.value)


def test_folders_that_do_not_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(HyperLoRAError, match="there is no file"):
        ClipVision.load(tmp_path / "nowhere")
    with pytest.raises(HyperLoRAError, match=r"has no model\.safetensors: get"):
        ClipVision.load(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(HyperLoRAError, match=r"only pytorch_model\.bin, which could run code"):
        ClipVision.load(tmp_path)
    with pytest.raises(HyperLoRAError, match=r"get the \.safetensors"):
        ClipVision.load(tmp_path / "pytorch_model.bin")

    state = vision_part(whole_clip(TINY))
    save_file(state, tmp_path / "a.safetensors")
    assert ClipVision.load(tmp_path).width == 128
    save_file(state, tmp_path / "b.safetensors")
    with pytest.raises(HyperLoRAError, match=r"a\.safetensors, b\.safetensors and no model\.safetensors"):
        ClipVision.load(tmp_path)

    save_file(state, tmp_path / "model.safetensors")
    config = tmp_path / "config.json"
    for text, message in (
        ("{", "is no config"),
        ("[]", "is no config"),
        (json.dumps({"hidden_size": 128, "num_hidden_layers": 24}), "3 layers and its config.json says 24"),
        (json.dumps({"hidden_size": 128, "hidden_act": "relu"}), "activation is 'relu'"),
        (json.dumps({"vision_config": {"hidden_size": 128, "num_attention_heads": 5}}), r"128 wide, .* heads \(5\)"),
    ):
        config.write_text(text)
        with pytest.raises(HyperLoRAError, match=message):
            ClipVision.load(tmp_path)
    config.write_text(json.dumps({"hidden_size": 1280, "num_hidden_layers": 32, "hidden_act": "gelu"}))
    with caplog.at_level(logging.WARNING):
        assert ClipVision.load(tmp_path).config.quick_gelu
    assert "of another model" in caplog.text
