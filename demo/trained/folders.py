"""The small base as what programs take: a diffusers folder, and a checkpoint of SDXL's family for ComfyUI.

The repository has what was trained, in half precision; both are made of it, and both hold the same numbers.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from demo import face_pack
from demo.cache import SetupError, build_once, recipe_hash
from demo.comfyui import comfyui
from demo.drawn import judge
from hyperlora_core import files
from hyperlora_core.files import file_sha256
from hyperlora_core.network.layout import MODULES_JSON

from . import base, padding, vae, widening, words
from .base import SCHEDULE, UNET, text_config
from .padding import wide_text, wide_unet, wide_vae
from .vae import DECODER_WIDTH, ENCODER_WIDTH

WEIGHTS = Path(__file__).parent.parent / "weights"
CHECKPOINT = "drawn_people_sdxl.safetensors"
DIFFUSERS = "diffusers"
VAE, BASE = WEIGHTS / "vae.safetensors", WEIGHTS / "base.safetensors"
CLIP, JUDGE = WEIGHTS / "clip_vision.safetensors", judge.WEIGHTS
NARROW = WEIGHTS / "hyper_lora"
"""The HyperLoRA as it was trained, for the small base."""
HYPER_LORA, CLIP_VISION = "drawn_people", "drawn_people_clip.safetensors"
"""As they are called below ``models``."""

SUMS = WEIGHTS / "sha256.json"

_DROPPED_BITS = 4  # of a half's 10
_TABLE = "token_embedding.weight"
_ALL_TOKENS = words.END + 1
_LATENT_SCALE = 0.13025  # by which ComfyUI multiplies SDXL's latents


def built() -> Path:
    """A folder with the checkpoint and, in ``DIFFUSERS``, the diffusers folder; made once, 2 GB of mostly zeros.

    Raises:
        SetupError: it could not be made, as where the disk is full or the weights are damaged.
    """
    sources = (__file__, base.__file__, padding.__file__, vae.__file__, words.__file__, str(VAE), str(BASE))
    return build_once(f"drawn-base-{recipe_hash(*sources)}", _build)


def models() -> Path:
    """A ``models`` folder for ComfyUI with all that was trained, made once; the checkpoint is ``built``'s.

    Raises:
        SetupError: it could not be made.
    """
    for file in (CLIP, NARROW / "hyper_lora_modules.safetensors"):
        check(file)
    weights = [str(CLIP), *(str(path) for path in sorted(NARROW.iterdir()))]
    return build_once(f"drawn-models-{recipe_hash(__file__, widening.__file__, padding.__file__, *weights)}", _gather)


def _gather(folder: Path) -> None:
    for file in NARROW.glob("*.safetensors"):
        check(file)
    for name in ("checkpoints", "clip_vision", "hyper_lora", "insightface/models"):
        (folder / name).mkdir(parents=True)
    (folder / "checkpoints" / CHECKPOINT).symlink_to(built() / CHECKPOINT)
    shutil.copy(CLIP, folder / "clip_vision" / CLIP_VISION)
    widening.widen(NARROW, folder / "hyper_lora" / HYPER_LORA)
    (folder / "insightface" / "models" / "antelopev2").symlink_to(face_pack.face_pack())


def _build(folder: Path) -> None:
    for file in (VAE, BASE):
        check(file)
    command = [sys.executable, "-m", "demo.trained.folders", str(comfyui()), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=WEIGHTS.parent.parent)
    if result.returncode:
        reason = result.stderr.strip().rpartition("\n")[2]
        raise OSError(f"the drawn people's checkpoint of 2 GB: {reason}")


def check(file: Path) -> None:
    """Refuse a file of weights that is not the one that was trained.

    Raises:
        SetupError: it is missing or damaged.
    """
    sha256 = json.loads(SUMS.read_text()).get(file.relative_to(WEIGHTS).as_posix())
    if not file.exists() or file_sha256(file) != sha256:
        state = "is damaged" if file.exists() else "is missing"
        raise SetupError(f"{file} {state}: get it again with git checkout -- {file.relative_to(WEIGHTS.parent.parent)}")


def keep_all(work: Path) -> None:
    """Keep in the repository what was trained in a folder, as ``as_kept`` has it, and how long that took."""
    WEIGHTS.mkdir(exist_ok=True)
    for path in (VAE, BASE, JUDGE):
        if (trained := work / path.name).exists():
            save_file(_shipped(trained), path)
    if (trained := work / CLIP.name).exists():
        shutil.copyfile(trained, CLIP)  # as it is: the HyperLoRA notes it
    if (trained := work / "runs" / "id_embed" / "hyperlora").exists():
        NARROW.mkdir(exist_ok=True)
        shutil.copyfile(trained / MODULES_JSON, NARROW / MODULES_JSON)
        for path in trained.glob("*.safetensors"):
            tensors = {name: as_kept(value) for name, value in load_file(path).items()}
            save_file(tensors, NARROW / path.name, files.open_safetensors(path).metadata)
    sums = {path.relative_to(WEIGHTS).as_posix(): file_sha256(path) for path in sorted(WEIGHTS.rglob("*.safetensors"))}
    SUMS.write_text(json.dumps(sums, indent=1) + "\n")
    if (times := work / "seconds.json").exists():
        shutil.copy(times, WEIGHTS)


def as_kept(value: Tensor) -> Tensor:
    """A tensor as the repository keeps it: in half precision, and of matrices 6 bits of each fraction, to pack well."""
    half = value.half().contiguous()
    if half.ndim < 2:
        return half
    return ((half.view(torch.int16) + (1 << _DROPPED_BITS - 1)) >> _DROPPED_BITS << _DROPPED_BITS).view(torch.float16)


def _shipped(trained: Path) -> dict[str, Tensor]:
    """What a file of trained weights has to ship, as it is kept: all but what only told the base who it draws."""
    return {name: as_kept(value) for name, value in load_file(trained).items() if not name.startswith("who.")}


def parts(where: Path = WEIGHTS) -> dict[str, dict[str, Tensor]]:
    """The trained weights by the names of a diffusers folder's parts, as the repository keeps them; all tokens' tables.

    Args:
        where: the folder of the VAE's and the base's weights.
    """
    state_dicts: dict[str, dict[str, Tensor]] = {"unet": {}, "text_encoder": {}, "text_encoder_2": {}}
    state_dicts["vae"] = _shipped(where / VAE.name)
    for name, value in _shipped(where / BASE.name).items():
        part, _, key = name.partition(".")
        state_dicts[part][key] = words.full_table(value) if key.endswith(_TABLE) else value
    return state_dicts


def pipeline(where: Path = WEIGHTS) -> StableDiffusionXLPipeline:
    """The small base in diffusers, float32."""
    weights = parts(where)
    modules = {
        "vae": AutoencoderTiny(
            encoder_block_out_channels=(ENCODER_WIDTH,) * 4, decoder_block_out_channels=(DECODER_WIDTH,) * 4
        ),
        "unet": UNet2DConditionModel(**UNET),
        "text_encoder": CLIPTextModel(text_config(0, _ALL_TOKENS)),
        "text_encoder_2": CLIPTextModelWithProjection(text_config(1, _ALL_TOKENS)),
    }
    for name, part in modules.items():
        part.load_state_dict(weights[name])
    folder = str(words.tokenizer_folder())
    first, second = (
        CLIPTokenizer.from_pretrained(folder, pad_token=pad, model_max_length=words.LENGTH)
        for pad in ("<|endoftext|>", "!")
    )
    return StableDiffusionXLPipeline(
        **modules,
        tokenizer=first,
        tokenizer_2=second,
        scheduler=EulerDiscreteScheduler(**SCHEDULE),
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def write_diffusers(folder: Path, where: Path = WEIGHTS) -> None:
    """The folder that ``hyperlora train --base`` takes."""
    pipeline(where).save_pretrained(folder, safe_serialization=True)


def write_checkpoint(path: Path) -> None:
    """The checkpoint that ComfyUI's stock loader takes; ComfyUI must be importable."""
    import comfy.sdxl_clip
    import comfy.supported_models
    import comfy.utils

    from demo import sdxl

    weights = parts()
    config = comfy.supported_models.Segmind_Vega(dict(sdxl.UNET))
    config.set_inference_dtype(torch.float32, None)
    names = comfy.utils.unet_to_diffusers(sdxl.UNET)
    unet = {names[name]: value for name, value in wide_unet(weights["unet"]).items()}
    texts = {}
    for number, (name, layers) in enumerate((("clip_l", 12), ("clip_g", 32))):
        small = weights["text_encoder_2" if number else "text_encoder"]
        texts |= {f"{name}.transformer.{key}": value for key, value in wide_text(small, number, layers).items()}
    pictures = wide_vae(weights["vae"]) | {"vae_scale": torch.tensor(_LATENT_SCALE), "vae_shift": torch.tensor(0.0)}
    state = (
        {f"model.diffusion_model.{name}": value for name, value in unet.items()}
        | config.process_clip_state_dict_for_saving(texts)
        | {f"first_stage_model.{name}": value for name, value in pictures.items()}
        | {"v_pred": torch.zeros(1)}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in state.items()}, path)


def main(source: str, folder: str) -> None:
    """Write both into a folder."""
    sys.path.insert(0, source)
    from comfy.cli_args import args

    args.cpu = True
    with torch.no_grad():
        write_checkpoint(Path(folder) / CHECKPOINT)
        write_diffusers(Path(folder) / DIFFUSERS)


if __name__ == "__main__":
    main(*sys.argv[1:])
