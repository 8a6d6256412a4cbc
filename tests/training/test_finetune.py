"""``hyperlora finetune``: where it begins, that it learns, and that every tool loads what it writes."""

import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open

from hyperlora_core import ClipVision, FaceAnalyzer, HyperLoRA, LoRA, encode_id, find_references, generate, open_photo
from hyperlora_core import save_identity as save
from hyperlora_core.cli import main
from hyperlora_core.doors.diffusers.base_model import BaseModel
from hyperlora_core.doors.diffusers.unet import attention_modules
from hyperlora_core.training.acceleration import accelerator_for
from hyperlora_core.training.export import export
from hyperlora_core.training.finetune import FinetuneConfig, OwnLoRA, PhotoTask, fresh_lora, read_photos
from hyperlora_core.training.fresh import fresh
from hyperlora_core.training.loop import Run
from hyperlora_core.training.shape import NetworkShape
from tests.support.unets import call, sdxl_style
from tests.training.small_base import make_sdxl


@pytest.fixture(scope="module")
def unet():
    """With two layers a block, by which other tools number SDXL's blocks in names of LoRAs."""
    return sdxl_style(widths=(32, 64), depths=(1, 1), heads=(2, 4), layers=2)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory, comfyui_path, unet):
    return make_sdxl(tmp_path_factory.mktemp("two_layers"), comfyui_path, unet)


@pytest.fixture(scope="module")
def person(tmp_path_factory, unet, clip_file, face_pack, photos):
    """Folders and files of a HyperLoRA, an identity made by it, photos of the person, and the LoRA it makes."""
    folder = tmp_path_factory.mktemp("person")
    shape = NetworkShape(bases=4, dim=32, heads=1, depth=1, clip_width=64)
    network = fresh(shape.config(attention_modules(unet)), seed=0)
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".up.weight"):
                parameter.normal_(0, 0.1, generator=numbers)
    export(network.config, network.state_dict(), folder / "model")
    network = HyperLoRA.load(folder / "model")
    references = find_references(FaceAnalyzer.load(face_pack), [open_photo(photos["obama"])])
    with torch.inference_mode():
        identity, _ = encode_id(network, ClipVision.load(clip_file), references)
    save(identity, folder / "obama.safetensors")
    images = folder / "images"
    images.mkdir()
    for name in ("obama", "obama2", "obama3"):
        shutil.copy(photos[name], images)
    (images / "obama2.txt").write_bytes("a man at a café table".encode("cp1252"))
    (images / "broken.jpg").write_bytes(b"no picture")
    return folder, generate(network, identity, 0.8, 0.0)


def arguments(person, base_folder, face_pack, out, **more):
    folder, _ = person
    named = {
        "identity": folder / "obama.safetensors",
        "model": folder / "model",
        "images": folder / "images",
        "base": base_folder,
        "faces": face_pack,
        "out": out,
        "steps": 3,
        "resolution": 64,
        "optimization.learning-rate": 0.01,
        "mixed-precision": "no",
    }
    given = {name: value for name, value in (named | more).items() if value is not None}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    return ["finetune", "--cpu", *words]


@pytest.mark.long
def test_it_writes_a_lora_that_other_tools_load_as_ours_is(person, base_folder, face_pack, tmp_path, caplog):
    out = tmp_path / "obama.safetensors"
    assert main(arguments(person, base_folder, face_pack, out, **{"trigger-words": "somebody"})) == 0
    assert "left out broken.jpg" in caplog.text and not out.with_suffix(".run").exists()
    trained, start = LoRA.load(out), person[1]
    assert trained.rank == 8 and trained.keys() == start.keys()
    assert any(not torch.allclose(trained[key].float(), start[key], atol=1e-3) for key in start)
    with safe_open(out, "pt") as file:
        told = file.metadata()
    assert (told["ss_network_dim"], told["ss_network_alpha"], told["ss_network_module"]) == ("8", "4", "networks.lora")
    assert told["ss_steps"] == "3" and told["modelspec.trigger_phrase"] == "somebody"
    base = BaseModel.load(str(base_folder), "cpu", torch.float32)
    learner = OwnLoRA(trained)
    ours = replaced(base, learner)
    pipeline = DiffusionPipeline.from_pretrained(base_folder)
    pipeline.load_lora_weights(out)
    with torch.no_grad():
        theirs, plain = call(pipeline.unet), call(base.unet)
    assert torch.allclose(ours, theirs, atol=1e-4) and not torch.allclose(ours, plain, atol=1e-3)


def replaced(base, learner):
    """What a UNet predicts with a LoRA."""
    from hyperlora_core.doors.diffusers.unet import LoRAInjection

    injection = LoRAInjection(base.unet, learner.targets)
    try:
        with torch.no_grad(), injection.active(learner(None)):
            return call(base.unet)
    finally:
        injection.remove()


def test_it_begins_with_what_was_generated(person):
    learner = OwnLoRA(person[1])
    again = learner.lora(learner.state_dict())
    assert again.keys() == person[1].keys() and all(torch.equal(again[key], person[1][key]) for key in again)
    assert again.metadata == person[1].metadata


@pytest.mark.long
def test_it_begins_with_nothing_where_a_rank_alone_is_given(person, base_folder, face_pack, tmp_path):
    base = BaseModel.load(str(base_folder), "cpu", torch.float32)
    with torch.no_grad():
        assert torch.equal(replaced(base, OwnLoRA(fresh_lora(base.unet, 4, 0))), call(base.unet))
    out = tmp_path / "of_nothing.safetensors"
    assert main(arguments(person, base_folder, face_pack, out, identity=None, model=None, rank=4)) == 0
    trained = LoRA.load(out)
    assert trained.rank == 4 and trained.keys() == person[1].keys() and trained.norm > 0


@pytest.mark.long
def test_it_learns_the_photos(person, base_folder, face_pack, tmp_path, caplog):
    base = BaseModel.load(str(base_folder), "cpu", torch.float32)
    config = FinetuneConfig(steps=25, resolution=64, mixed_precision="no", samples_per_step=4, batch=4, seed=3)
    (person[0] / "images" / "._obama.jpg").write_bytes(b"of macOS")
    (person[0] / "images" / "Thumbs.db").write_bytes(b"of Windows")
    with caplog.at_level("WARNING"):
        found = read_photos(person[0] / "images", FaceAnalyzer.load(face_pack))
    assert "._obama" not in caplog.text and "broken.jpg" in caplog.text
    losses = {}
    for rate in (0.0, 6e-3):
        told = replace(config, optimization=replace(config.optimization, learning_rate=rate))
        task = PhotoTask(base, found, told)
        run = Run(told, task, OwnLoRA(person[1]), tmp_path / str(rate), accelerator_for(told, tmp_path, cpu=True))
        losses[rate] = []
        run.train(lambda at, loss, kept=losses[rate]: kept.append(loss))
        run.close()
    assert sum(losses[6e-3][-10:]) < 0.97 * sum(losses[0.0][-10:]), "of the very same samples"


@pytest.mark.long
def test_it_goes_on_where_it_was_stopped(person, base_folder, face_pack, tmp_path, monkeypatch, caplog):
    whole, parted = tmp_path / "whole.safetensors", tmp_path / "parted.safetensors"
    assert main(arguments(person, base_folder, face_pack, whole)) == 0
    step = Run._step

    def stop_after_one(self, batches):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batches)

    monkeypatch.setattr(Run, "_step", stop_after_one)
    assert main(arguments(person, base_folder, face_pack, parted)) == 143
    assert not parted.exists()
    monkeypatch.undo()
    fewer = tmp_path / "fewer"
    shutil.copytree(person[0] / "images", fewer)
    next(fewer.glob("obama*")).unlink()
    for other, flag in (({"id-weight": 0.3}, "--id-weight"), ({"images": fewer}, "--images")):
        caplog.clear()
        assert main(arguments(person, base_folder, face_pack, parted, **other)) == 1
        assert f"began with another {flag}" in caplog.text or f"whose {flag[2:]} is" in caplog.text
    assert main(arguments(person, base_folder, face_pack, parted)) == 0
    one, other = LoRA.load(parted), LoRA.load(whole)
    assert one.metadata == other.metadata and all(torch.equal(one[key], other[key]) for key in other)


@pytest.mark.long
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"out": "person.ckpt"}, "must end in .safetensors"),
        ({"images": ""}, "no photos were named"),
        ({"lora": "some.safetensors"}, "two places to begin are given"),
        ({"rank": 4}, "two places to begin are given"),
        ({"rank": 0, "identity": None, "model": None}, "--rank is 0"),
        ({"identity": None, "model": None}, "where to begin is missing"),
        ({"images": "/nowhere"}, "--images /nowhere is no folder"),
        ({"identity": "/nowhere.safetensors"}, "/nowhere.safetensors"),
        ({"id-weight": 0}, "the LoRA to begin with is empty"),
        ({"resolution": 65}, "resolution is 65"),
    ],
)
def test_wrong_things_are_told(person, base_folder, face_pack, tmp_path, caplog, wrong, sentence):
    given = {"out": tmp_path / "out.safetensors"} | wrong
    assert main(arguments(person, base_folder, face_pack, **given)) == 1
    assert sentence in caplog.text


@pytest.mark.long
def test_a_lora_for_another_unet_is_refused(person, comfyui_path, face_pack, tmp_path, caplog):
    from tests.training.small_base import make_sd15

    other = make_sd15(tmp_path / "sd15", comfyui_path)
    assert main(arguments(person, other, face_pack, tmp_path / "out.safetensors")) == 1
    assert "which the base model has not" in caplog.text


def test_nothing_that_was_there_is_lost(person, base_folder, face_pack, tmp_path, caplog):
    kept = tmp_path / "kept.safetensors"
    shutil.copy(person[0] / "obama.safetensors", kept)
    before = kept.read_bytes()
    assert main(arguments(person, base_folder, face_pack, kept, identity=kept)) == 1
    assert "--out is the file of --identity" in caplog.text and kept.read_bytes() == before
    precious = tmp_path / "out.run" / "precious.txt"
    precious.parent.mkdir()
    precious.touch()
    assert main(arguments(person, base_folder, face_pack, tmp_path / "out.safetensors")) == 1
    assert "holds something else than a run of training" in caplog.text and precious.exists()
