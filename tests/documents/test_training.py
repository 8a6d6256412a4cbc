"""The commands of docs/TRAINING.md, typed in its order: from pictures to a person's LoRA, on small models."""

import re
import shutil

import pytest
import torch
from PIL import Image

from hyperlora_core import (
    ClipVision,
    FaceAnalyzer,
    HyperLoRA,
    LoRA,
    encode_id,
    find_references,
    open_photo,
    save_identity,
)
from hyperlora_core.cli import main
from hyperlora_core.data.shards import Shards
from hyperlora_core.training.command import CHECKPOINT
from tests.documents import reading
from tests.documents.test_runs import typed
from tests.support.models import make_clip_vision
from tests.training.small_base import make_sdxl
from tests.training.test_command import SMALL

DOCUMENT = "docs/TRAINING.md"

_CAPTIONER = "tests.data.captioning:sizes"
_FITTED = f"""
small=({" ".join(f"--{name} {value}" for name, value in SMALL.items())} --base "$BASE" --cpu --sample-every 0)
hyperlora() {{
    command=$1; shift
    more=()
    case $command in
        prepare) more=(--gpus 0 --caption-device cpu --workers 1 --min-side 128 --min-face 32 --min-sharpness 0)
            case "$*" in *--captioner*) more+=(--captioner {_CAPTIONER});; esac;;
        train) case "$*" in
            *--plan*) ;;
            *) more=("${{small[@]}}");; esac;;
        finetune) more=(--base "$BASE" --cpu --steps 2 --resolution 64 --mixed-precision no);;
        download) return;;
    esac
    "$PYTHON" -m hyperlora_core.cli "$command" "$@" "${{more[@]}}"
}}
accelerate() {{ :; }}
"""
"""What makes the commands fit a machine without a GPU: options behind those of the document, and a base model."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_from_pictures_to_a_persons_lora(tmp_path, photos, face_pack, comfyui_path):
    base = make_sdxl(tmp_path / "base model", comfyui_path)
    clip = tmp_path / "models" / "clip_vision" / "clip-vit-large-patch14.safetensors"
    make_clip_vision(clip)
    faces = tmp_path / "models" / "insightface" / "models" / "antelopev2"
    faces.parent.mkdir(parents=True)
    faces.symlink_to(face_pack)
    (tmp_path / "models" / "hyper_lora").mkdir()
    (tmp_path / "laion-portraits").mkdir()
    for name in ("obama", "obama2", "biden"):
        shutil.copy(photos[name], tmp_path / "laion-portraits")
    for person, names in {"anna": ("obama", "obama2", "obama3"), "jane-doe": ("biden",)}.items():
        (tmp_path / "people" / person).mkdir(parents=True)
        for name in names:
            photo = Image.open(photos[name]).convert("RGB")
            photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "people" / person / f"{name}.jpg")
    shutil.copytree(tmp_path / "people" / "anna", tmp_path / "anna")
    variables = {"BASE": str(base), "HF_HUB_OFFLINE": "1"}
    texts = [block.text for block in reading.blocks(DOCUMENT, "sh")]
    (finetune,) = [place for place, text in enumerate(texts) if "hyperlora finetune" in text]

    output = typed("".join(texts[:finetune]), tmp_path, _FITTED, 1500, **variables)
    assert "parameters" in output, "of the plans"
    assert len(Shards(str(tmp_path / "both"))) > 3
    people = {sample.person for sample in samples(tmp_path / "set2")}
    assert people == {"anna"}, "jane-doe is on the drop list"
    checkpoints = [tmp_path / "runs" / name / CHECKPOINT for name in ("base", "id_clip", "id_embed", "id_alone")]
    assert all((path / "resampler.safetensors").is_file() for path in checkpoints)
    mine = tmp_path / "models" / "hyper_lora" / "mine"
    network = HyperLoRA.load(mine)

    mine.rename(mine.with_name("sdxl_hyper_id_lora_v1_fidelity"))
    with torch.inference_mode():
        references = find_references(FaceAnalyzer.load(faces), [open_photo(tmp_path / "anna" / "obama.jpg")])
        identity, _ = encode_id(network, ClipVision.load(clip), references)
    save_identity(identity, tmp_path / "anna.safetensors")
    typed("".join(texts[finetune:]), tmp_path, _FITTED, 500, **variables)
    assert LoRA.load(tmp_path / "anna_50.safetensors").norm > 0


def samples(folder):
    shards = Shards(str(folder))
    return [shards[place] for place in range(len(shards))]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["base", "id_clip", "id_embed"])
def test_its_memory_is_what_the_plan_prints(stage, capsys):
    table = reading.read(DOCUMENT).partition("GB a GPU")[2]
    (sizes,) = re.findall(rf"^\| `{stage}` \| ([\d.]+) \| ([\d.]+) \|$", table, re.MULTILINE)
    for recipe, gpus, size in ((stage, "16", sizes[0]), (f"{stage}-24gb", "1", sizes[1])):
        assert main(["train", recipe, "--plan", "--gpus", gpus]) == 0
        memory = capsys.readouterr().out.partition("memory of")[2]
        (total,) = re.findall(r"^  in all +([\d.]+)$", memory, re.MULTILINE)
        assert float(total) == pytest.approx(float(size), abs=0.06)
