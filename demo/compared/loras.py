"""A LoRA of each person by the usual training: ``hyperlora finetune`` from nothing, on photos that no other way has."""

import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

from demo import face_pack
from demo.drawn import folder as drawn_folder
from demo.shown import world
from demo.shown.rows import name_of
from demo.trained import folders
from demo.trained.widening import wide_lora
from hyperlora_core import LoRA

PHOTOS = 10
WORD = "ohwx"
STEPS = (
    *("--rank=4", "--steps=400", "--samples-per-step=8", "--batch=8", "--resolution=128", "--mixed-precision=no"),
    *("--no-gradient-checkpointing", f"--trigger-words={WORD}", "--optimization.learning-rate=2e-3"),
)


def train(person: int, work: Path) -> Path:
    """The person's LoRA for the checkpoint that ComfyUI loads; begun and gone on with by the same call.

    Args:
        person: of ``world``.
        work: where LoRAs are kept.
    """
    wide = work / "wide" / f"{name_of(person)}.safetensors"
    if wide.exists():
        return wide
    photos = world.photos()
    drawn_folder.write_people(photos, world.SEED, 1, world.PHOTOS + PHOTOS, first=person)
    own = work / "own" / name_of(person)
    own.mkdir(parents=True, exist_ok=True)
    for number in range(world.PHOTOS, world.PHOTOS + PHOTOS):
        for suffix in (".png", ".txt"):
            link = own / f"{number}{suffix}"
            if not link.exists():
                link.symlink_to(photos / name_of(person) / link.name)
    small = work / "small" / f"{name_of(person)}.safetensors"
    small.parent.mkdir(exist_ok=True)
    if not small.exists():
        files = ("--images", str(own), "--faces", str(face_pack.face_pack()), "--out", str(small))
        base = ("--base", str(folders.built() / folders.DIFFUSERS))
        command = [sys.executable, "-m", "hyperlora_core.cli", "finetune", "--cpu", *files, *base, *STEPS]
        subprocess.run(command, check=True)
    wide.parent.mkdir(exist_ok=True)
    return wide_lora(LoRA(load_file(small))).save(wide)
