"""Recognising model files by their tensors' names, with advice for when another file was needed.

Nothing is unpickled: a pickle's strings are read, which is enough to tell what it holds.
"""

import pickletools
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .foreign import PICKLE_STARTS, NotSafetensorsError
from .stored import PathOrFile, SafetensorsFile, open_safetensors

FORMAT_KEY = "hyperlora.format"
"""The metadata entry that marks a HyperLoRA checkpoint in one file."""
IDENTITY_KEY = "hyperlora.identity"
"""The metadata entry that marks an identity's file."""
SLIDER_KEY = "hyperlora.slider"
"""The metadata entry that marks a slider's file."""

_NUMBERS = 8  # integers kept after a tensor's name in a pickle: its storage's size and offset, its shape and strides
_STORAGE = re.compile(r"\d+|(cpu|cuda|mps)(:\d+)?")  # a pickle's strings that name a tensor's storage
_PICKLE_BYTES = 64 << 20  # read of a zip's data.pkl or of a bare pickle: names, not tensors


@dataclass(frozen=True)
class Kind:
    """What a file is.

    Attributes:
        key: what code compares, as ``LORA``; several kinds may share it.
        name: for messages, with its article: "an IP-Adapter".
        advice: what the user can do with such a file.
        pickled: whether the file is a pickle, which is never opened.
    """

    key: str
    name: str
    advice: str
    pickled: bool = False

    def opens_as(self, key: str) -> bool:
        """Whether it has this key and can be opened."""
        return self.key == key and not self.pickled

    @property
    def is_personal(self) -> bool:
        """Whether users name such files after people."""
        return self.key in (IDENTITY.key, SLIDER.key, LORA, LYCORIS, EMBEDDING)


CHECKPOINT, CLIP_VISION, EMBEDDING, LORA, LYCORIS = "checkpoint", "clip_vision", "embedding", "lora", "lycoris"
"""Keys that code compares."""

HYPERLORA = Kind("hyperlora", "a HyperLoRA checkpoint in one file", "load it with Load HyperLoRA")
IDENTITY = Kind(
    "identity", "an identity", "put it into models/hyper_lora/identities and load it with HyperLoRA Load Identity"
)
SLIDER = Kind("slider", "a slider", "put it into models/hyper_lora/sliders and load it with HyperLoRA Load Slider")
_PART = "choose the folder that holds it, with hyper_lora_modules.json and the other files"
_LORA = "put it into models/loras and load it with ComfyUI's Load LoRA; a HyperLoRA is what makes LoRAs"
_OTHER_PACK = (
    "it belongs to another identity pack; HyperLoRA's files are named hyper_lora_modules, resampler, id_projector"
)

PARTS = {
    "hyper_lora_modules": Kind("hyper_lora_modules", "the bases of a HyperLoRA", _PART),
    "resampler": Kind("resampler", "the resampler of a HyperLoRA", _PART),
    "id_projector": Kind("id_projector", "the ID projector of a HyperLoRA", _PART),
}
PARTS["base_resampler"] = PARTS["resampler"]
"""Part of the released layout -> the kind of its file; both resamplers are of one kind."""

Names = Mapping[str, tuple[int, ...]]
"""Tensor name -> shape; for a pickle, string -> the integers that follow it, the shape among them."""


def _any(pattern: str) -> Callable[[Names], bool]:
    regex = re.compile(pattern)
    return lambda names: any(regex.search(name) for name in names)


def _all(*patterns: str) -> Callable[[Names], bool]:
    return lambda names: all(_any(pattern)(names) for pattern in patterns)


def _instantid(names: Names) -> bool:
    """Its input is a face embedding of 512 numbers, where IP-Adapter Plus takes CLIP's 1280."""
    return any(512 in names.get(f"{prefix}proj_in.weight", ()) for prefix in ("image_proj.", ""))


def _into(folder: str) -> str:
    return f"it goes into models/{folder}"


# The first kind that fits is taken: special ones stand before general ones.
_KINDS: tuple[tuple[Callable[[Names], bool], Kind], ...] = (
    (_any(r"^\d+\.to_(q|k|v|out)\.(id|base)_(down|up)_basis$"), PARTS["hyper_lora_modules"]),
    (_all(r"^latents$", r"^layers\.0\.attn1\.to_q"), PARTS["resampler"]),
    (lambda names: set(names) == {"0.weight", "0.bias", "2.weight", "2.bias"}, PARTS["id_projector"]),
    (_any(r"id_adapter|\.id_to_k|pulid_(ca|encoder)"), Kind("other_pack", "a PuLID", _OTHER_PACK)),
    (_instantid, Kind("other_pack", "an InstantID", _OTHER_PACK)),
    (_any(r"^(ip_adapter|image_proj)\b"), Kind("other_pack", "an IP-Adapter", _OTHER_PACK)),
    (_any(r"^id_encoder\b"), Kind("other_pack", "a PhotoMaker", _OTHER_PACK)),
    (_any(r"^base_model\.model\..*\.lora_[AB]"), Kind(LORA, "a LoRA in PEFT's format", _LORA)),
    (_any(r"\.lora_[AB]\b|\.lora\.(down|up)\.|_lora\.(down|up)\."), Kind(LORA, "a LoRA in diffusers' format", _LORA)),
    (_any(r"\.lora_(down|up)\.weight$"), Kind(LORA, "a LoRA in kohya's format", _LORA)),
    (_any(r"\.(hada_w1_a|lokr_w1|oft_blocks)"), Kind(LYCORIS, "a LyCORIS LoRA", _LORA)),
    (
        _any(r"^control_model\.|controlnet_cond_embedding|^input_hint_block"),
        Kind("controlnet", "a ControlNet", _into("controlnet")),
    ),
    (
        _any(r"^model\.diffusion_model\."),
        Kind(CHECKPOINT, "a whole Stable Diffusion checkpoint", _into("checkpoints")),
    ),
    (_any(r"^down_blocks\.\d+\.resnets\."), Kind("unet", "a diffusers UNet", _into("diffusion_models"))),
    (_any(r"^(encoder|decoder|first_stage_model)\..*conv_in"), Kind("vae", "a VAE", _into("vae"))),
    (_any(r"(^|\.)double_blocks\.\d+\."), Kind("flux", "a Flux model", "HyperLoRA is made for SDXL")),
    (
        _any(r"vision_model\.embeddings\.|(^|\.)visual\.class_embedding"),
        Kind(CLIP_VISION, "a CLIP vision model", _into("clip_vision")),
    ),
    (
        _any(r"token_embedding\.weight$"),
        Kind("clip_text", "a CLIP text encoder", "the vision model of the same CLIP is needed"),
    ),
    (
        lambda names: 0 < len(set(names)) == len({"clip_l", "clip_g"} & set(names)),
        Kind(EMBEDDING, "an embedding", _into("embeddings")),
    ),
)


def recognise_names(names: Names, metadata: Mapping[str, str] | None = None) -> Kind | None:
    """The kind of a file with tensors of these names and shapes; None if it is unknown."""
    metadata = metadata or {}
    kind = next((kind for fits, kind in _KINDS if fits(names)), None)
    if (
        kind is not None and kind.key == LORA
    ):  # before the metadata's marks: there are LoRAs made of sliders that carry the slider's
        made_by = metadata.get("hyperlora.checkpoint")
        return kind if made_by is None else replace(kind, name=f"a LoRA that the HyperLoRA '{made_by}' made")
    marks = ((FORMAT_KEY, HYPERLORA), (IDENTITY_KEY, IDENTITY), (SLIDER_KEY, SLIDER))
    return next((marked for key, marked in marks if key in metadata), kind)


def open_recognised(path: PathOrFile) -> tuple[Kind | None, SafetensorsFile | None]:
    """Open a model file and recognise it.

    Args:
        path: the file, which may be open already.

    Returns:
        Its kind, None for a whole safetensors file of an unknown kind; and the open file, None for a pickle.

    Raises:
        HyperLoRAError: it is no whole model file: a Git LFS pointer, a web page, cut short, ...
    """
    try:
        file = open_safetensors(path)
    except NotSafetensorsError as error:
        kind = recognise_names(_pickled_names(Path(str(path)))) if error.start.startswith(PICKLE_STARTS) else None
        if kind is None:
            raise
        return replace(kind, name=f"{kind.name}, in a pickle", pickled=True), None
    return recognise_names(file.shapes, file.metadata), file


def recognise(path: str | Path) -> Kind | None:
    """A file's kind, as ``open_recognised`` returns it."""
    return open_recognised(path)[0]


def _pickled_names(path: Path) -> Names:
    """Tensors' names in a pickle, or in a zip's data.pkl; its opcodes are read and never run."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
                if name is None:
                    return {}
                with archive.open(name) as file:
                    data = file.read(_PICKLE_BYTES)
        else:
            with path.open("rb") as file:
                data = file.read(_PICKLE_BYTES)
        names: dict[str, tuple[int, ...]] = {}
        last = ""
        for operation, argument, _ in pickletools.genops(data):
            if isinstance(argument, str) and "UNICODE" in operation.name and not _STORAGE.fullmatch(argument):
                last = argument
                names.setdefault(last, ())
            elif isinstance(argument, int) and operation.name.startswith("BININT"):
                names[last] = (*names.get(last, ()), argument)[:_NUMBERS]
    # what zipfile and pickletools raise for a broken archive or pickle: it is then of no known kind
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return {}
    return names
