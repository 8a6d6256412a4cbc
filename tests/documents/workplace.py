"""A folder in which the paths that documents name lead to small models and real photos."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from tests.support.models import CLIP_VISION, HYPER_LORA

_PHOTOS = {"a.jpg": "obama", "b.jpg": "obama2", "ben.jpg": "biden", "me.jpg": "obama"}


def workplace(folder: Path, models: Path, face_pack: Path, photos: Mapping[str, Path]) -> Path:
    """Fill a folder as a reader of ``docs/COMMAND_LINE.md`` has it.

    Args:
        folder: to be filled.
        models: the demo's ``models`` folder.
        face_pack: face models in place of antelopev2's.
        photos: real photos, by name.

    Returns:
        The folder.
    """
    for place, target in (
        ("models/hyper_lora/sdxl_hyper_id_lora_v1_fidelity", models / "hyper_lora" / HYPER_LORA),
        ("models/clip_vision/clip-vit-large-patch14.safetensors", models / "clip_vision" / CLIP_VISION),
        ("models/insightface/models/antelopev2", face_pack),
    ):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).symlink_to(target)
    for name, photo in _PHOTOS.items():
        Image.open(photos[photo]).convert("RGB").save(folder / name)
    for person, names in {"anna": ("obama", "obama2"), "ben": ("biden",)}.items():
        (folder / "people" / person).mkdir(parents=True)
        for name in names:
            shutil.copy(photos[name], folder / "people" / person)
    return folder
