"""Saying what a model file or folder is: ``hyperlora inspect``."""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from .. import files
from ..clip.weights import TowerFile, find_tower
from ..errors import HyperLoRAError
from ..faces import FaceAnalyzer
from ..files import kinds
from ..files.encoders import ANTELOPEV2, Encoder
from ..identity.file import load_identity
from ..identity.mixing import agreement
from ..identity.slider import Slider
from ..lora.value import LoRA
from ..network.base_models import base_model_of
from ..network.checkpoint import Checkpoint, read_checkpoint
from ..network.hyperlora import HyperLoRA
from ..network.layout import MODULES_JSON, PARTS, SHA256_KEY
from ..network.samples import finite

_DOWN = re.compile(r"\.lora_down\.weight$|\.lora_A\b.*weight$|\.lora\.down\.weight$|_lora\.down\.weight$")
_DIFFUSERS_NAME = re.compile(r"lora_unet_(down_blocks|up_blocks|mid_block)_")


def inspect(path: str | Path, full: bool = False) -> tuple[list[str], bool]:
    """Say what a file or folder is.

    Args:
        path: of anything: a HyperLoRA in either layout, a LoRA, CLIP, face models, or what was taken for one of them.
        full: of a HyperLoRA, read every number; else headers and samples.

    Returns:
        Lines to print, and whether it is whole and of a known kind.
    """
    path = Path(path)
    try:
        return _lines(path, full), True
    except HyperLoRAError as error:
        return [str(error)], False


def _lines(path: Path, full: bool) -> list[str]:
    if not path.exists():
        raise HyperLoRAError(f"there is no file or folder {path}")
    if path.suffix == ".onnx":
        raise HyperLoRAError(files.foreign(path) or f"{path} is an ONNX model: inspect the folder that holds it")
    if path.suffix == ".zip" or (path.is_dir() and _holds_faces(path)):
        return _faces(path)
    if path.is_dir():
        if (path / "model.safetensors").exists():
            return _clip(find_tower(path))
        return _checkpoint(read_checkpoint(path), full)
    kind, file = kinds.open_recognised(path)
    if kind is None:
        names = ", ".join(sorted(file.tensors)[:3]) if file else ""
        raise HyperLoRAError(f"{path} is a whole safetensors file of no known kind: it holds {names or 'no tensor'}")
    if file is not None and kind.key == kinds.HYPERLORA.key:
        return _checkpoint(read_checkpoint(file), full)
    if file is not None and kind.key == kinds.CLIP_VISION:
        return _clip(find_tower(file))
    describe = _DESCRIBED.get(kind.key) if file is not None else None
    details = describe(file) if describe and file else []
    return [f"{path} is {kind.name}", *details, f"what to do with it: {kind.advice}"]


def _holds_faces(folder: Path) -> bool:
    places = (folder, folder / folder.name)
    if any((place / MODULES_JSON).exists() for place in places):
        return False
    candidates = (file for place in places for pattern in ("*.onnx", "*.zip") for file in place.glob(pattern))
    return not all(files.is_clutter(file.name) for file in candidates)


def _checkpoint(checkpoint: Checkpoint, full: bool) -> list[str]:
    checkpoint.check(HyperLoRA(checkpoint.config, device="meta").shapes())
    config, resampler = checkpoint.config, checkpoint.config.id_resampler
    base_model = base_model_of(config.modules) or "no known base model"
    parts = ", ".join(part for part in PARTS if part in checkpoint.parts)
    types = Counter(tensor.dtype for _, _, tensor in checkpoint.tensors())
    layout = f"folder with {MODULES_JSON}" if checkpoint.is_folder else "one file"
    reads = [f"a face embedding of {config.id_embed_dim} numbers, as {config.id_tokens} tokens"] * config.reads_faces
    reads += [f"CLIP tokens {config.clip_width} wide"] * config.reads_clip
    lines = [
        f"{checkpoint.path} is a HyperLoRA checkpoint",
        f"layout        {layout}: {parts}",
        f"size          {checkpoint.size / 1e6:,.1f} MB, {', '.join(f'{n} tensors {t}' for t, n in types.items())}",
        f"for           {len(config.modules)} attentions, as {base_model} has",
        f"reads         {' and '.join(reads)}",
        f"ID-LoRA       rank {config.id_rank}, out of {config.basis_size} bases",
        f"Base-LoRA     {f'rank {config.base_rank}' if config.has_base else 'none'}",
        f"resampler     {resampler.depth} layers, {resampler.dim} wide, {resampler.heads} heads of "
        f"{resampler.head_dim}, feed-forward x{resampler.ff_mult}",
        *_trained_with(checkpoint),
        f"fingerprint   {checkpoint.fingerprint}",
    ]
    if checkpoint.blank:
        lines.append(
            f"all zero      {len(checkpoint.blank)} tensors, {checkpoint.blank[0]} the first: untrained, or cut off"
        )
    if full:
        lines.append(f"every number  {_read_whole(checkpoint)}")
    return lines


def _trained_with(checkpoint: Checkpoint) -> list[str]:
    def said(encoder: Encoder | None, otherwise: str) -> str:
        return f"{encoder.name} ({encoder.sha256[:10]})" if encoder else f"{otherwise}, for it does not say"

    lines = []
    if checkpoint.config.clip_width is not None:
        lines.append(f"CLIP          {said(checkpoint.encoders.clip_vision, 'any of that width')}")
    if checkpoint.config.reads_faces:
        lines.append(f"faces         {said(checkpoint.encoders.face, ANTELOPEV2.name)}")
    return lines


def _read_whole(checkpoint: Checkpoint) -> str:
    """Read everything; what is said of it.

    Raises:
        HyperLoRAError: a number is not finite, or the file is not as it was written.
    """
    for part, key, tensor in checkpoint.tensors():
        if not all(finite(block, tensor.dtype) for block in files.read_bytes([tensor])):
            raise HyperLoRAError(f"{checkpoint.path}: {part}: {key} holds NaN or infinite numbers")
    if checkpoint.is_folder:
        return f"finite; sha256 {checkpoint.sha256()}"
    if checkpoint.sha256() != checkpoint.files[0].metadata.get(SHA256_KEY):
        raise HyperLoRAError(f"{checkpoint.path} is not as it was written, its sha256 differs: {files.DOWNLOAD_AGAIN}")
    return "finite, and as it was written"


def _lora(file: files.SafetensorsFile) -> list[str]:
    mend = ""
    try:
        targets = f"{sum(1 for _ in LoRA.load(file).factors())} attention projections"
        mend = ": in Python, hyperlora_core.LoRA.load(old).save(new) writes kohya's"
    except HyperLoRAError:
        targets = f"other modules, or not these alone: {len(file.tensors)} tensors"
    lines = [f"targets       {targets}", f"rank, alpha   {_ranks(file)}, {_alphas(file)}"]
    if any(_DIFFUSERS_NAME.match(name) for name in file.tensors):
        naming = "of modules as diffusers has them; for SDXL kohya's sd-scripts find none of these"
        lines.append(f"names         {naming}{mend}")
    for label, key in (
        ("base model", "ss_base_model_version"),
        ("trigger words", "modelspec.trigger_phrase"),
        ("made by", "hyperlora.checkpoint"),
    ):
        if key in file.metadata:
            lines.append(f"{label:<13} {file.metadata[key]}")
    return lines


def _ranks(file: files.SafetensorsFile) -> str:
    return _span({tensor.shape[0] for name, tensor in file.tensors.items() if _DOWN.search(name) and tensor.shape})


def _alphas(file: files.SafetensorsFile) -> str:
    alphas = {
        float(file.tensor(name))
        for name, tensor in file.tensors.items()
        if name.endswith(".alpha") and math.prod(tensor.shape) == 1
    }
    return _span(alphas) if alphas else "none, which counts as the rank"


def _span(numbers: Collection[float]) -> str:
    """One number, or from which to which."""
    if not numbers:
        return "none"
    least, most = min(numbers), max(numbers)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def _identity(file: files.SafetensorsFile) -> list[str]:
    identity = load_identity(file)
    lines = [
        f"made by       the HyperLoRA {identity.checkpoint}",
        f"ID part       {_sets(identity.refs)}, of {len(identity.photos)} photos",
        f"Base part     {_sets(len(identity.base_rows)) if identity.base_rows is not None else 'none'}",
    ]
    if identity.weights:
        lines.append(f"weights       {', '.join(f'{weight:g}' for weight in identity.weights)}")
    if identity.embedder is not None:
        agreements = ", ".join(f"{value:.2f}" for value in agreement(identity))
        lines.append(f"agreement     {agreements}, by {identity.embedder.name}")
    return [*lines, *(f"{name:<13} {value}" for name, value in identity.settings.items())]


def _slider(file: files.SafetensorsFile) -> list[str]:
    slider = Slider.load(file)
    made_by = slider.pairs[0][0].checkpoint
    return [f"made by       the HyperLoRA {made_by}", f"pairs         {len(slider.pairs)}"]


def _sets(count: int) -> str:
    return f"{count} set{'s' if count != 1 else ''} of rows"


def _clip(tower: TowerFile) -> list[str]:
    encoder = tower.encoder
    return [
        f"{tower.file} is a CLIP vision model",
        f"tower         {encoder.name}, {tower.config.layers} layers, {tower.config.width} wide",
        f"fingerprint   {encoder.sha256}",
        "released HyperLoRAs take ViT-L/14 at 224",
    ]


def _faces(path: Path) -> list[str]:
    encoder = FaceAnalyzer.load(path).embedder
    return [
        f"{path} holds face models",
        f"embedder      {encoder.name}",
        f"sha256        {encoder.sha256}",
        f"released HyperLoRAs take {ANTELOPEV2.name} ({ANTELOPEV2.sha256[:10]})",
    ]


_DESCRIBED: dict[str, Callable[[files.SafetensorsFile], list[str]]] = {
    kinds.IDENTITY.key: _identity,
    kinds.SLIDER.key: _slider,
    kinds.LORA: _lora,
}
"""What is said of an open file, by its kind's key."""
