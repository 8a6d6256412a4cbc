"""From photos to a LoRA, without ComfyUI: the steps, and the command."""

import itertools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from hyperlora_core import (
    TRIGGER_WORDS,
    HyperLoRA,
    HyperLoRAError,
    LoRA,
    encode_id,
    find_references,
    generate,
    open_photo,
)
from hyperlora_core.cli import main
from hyperlora_core.errors import NoFaceError
from hyperlora_core.network.base_models import metadata_of
from hyperlora_core.network.config import AttentionModule
from tests.core.conftest import ONE_PERSON
from tests.support.models import CLIP_VISION, HYPER_LORA


def delta(lora: LoRA) -> torch.Tensor:
    """All of a LoRA's weight changes as one vector."""
    return torch.cat([(factors.scale * factors.up @ factors.down).flatten() for _, factors in lora.factors()])


@pytest.mark.long
def test_a_persons_loras_are_nearer_to_each_other_than_to_anothers(network, clip, references):
    found = {name: delta(generate(network, encode_id(network, clip, [ref])[0])) for name, ref in references.items()}
    cosine = {
        (one, other): float(torch.cosine_similarity(found[one], found[other], dim=0))
        for one, other in itertools.combinations(found, 2)
    }
    same = [value for pair, value in cosine.items() if set(pair) <= set(ONE_PERSON)]
    different = [value for pair, value in cosine.items() if not set(pair) <= set(ONE_PERSON)]
    assert len(same) == 3 and len(different) == 7
    assert min(same) > max(different), cosine


def test_three_photos_give_the_mean_of_their_rows(network, clip, references):
    three, pictures = encode_id(network, clip, [references[name] for name in ONE_PERSON])
    singles = [encode_id(network, clip, [references[name]])[0] for name in ONE_PERSON]
    torch.testing.assert_close(three.id_rows, torch.cat([one.id_rows for one in singles]), rtol=1e-4, atol=1e-4)
    assert three.id_rows.shape == (3, 8 * 30, 16) and three.id_rows.dtype == torch.float32
    assert len(pictures) == len(set(three.photos)) == 3
    assert len({picture.size for picture in pictures}) == 3, "photos of unequal sizes"
    shuffled, _ = encode_id(network, clip, [references[name] for name in ONE_PERSON[::-1]])
    one, other = (network.mix(identity.id_rows) for identity in (three, shuffled))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_id_and_base_add_up_each_at_its_weight(network, identity):
    both = generate(network, identity, 0.8, 0.4)
    parts = delta(generate(network, identity, 0.8, 0.0)) + delta(generate(network, identity, 0.0, 0.4))
    torch.testing.assert_close(delta(both), parts, rtol=1e-4, atol=1e-6)
    assert (both.rank, generate(network, identity, 0.8, 0.0).rank) == (12, 8)
    torch.testing.assert_close(
        delta(generate(network, identity, 1.0, 0.0)), delta(network.id_lora(network.mix(identity.id_rows)))
    )


def test_weights_of_zero_give_an_empty_lora(network, identity):
    assert generate(network, identity, 0, 0) == {}
    assert generate(network, replace(identity, base_rows=None), 0, 0.4) == {}


def test_the_lora_says_what_made_it(network, identity):
    metadata = generate(network, identity, 0.75, 0.4).file_metadata()
    assert metadata["ss_network_module"] == "networks.lora"
    assert metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    assert json.loads(metadata["ss_tag_frequency"])["hyperlora"] == {TRIGGER_WORDS: 1}
    assert metadata["modelspec.trigger_phrase"] == TRIGGER_WORDS == "fcsks fxhks fhyks"
    assert metadata["hyperlora.checkpoint"] == HYPER_LORA
    assert metadata["hyperlora.checkpoint_fingerprint"] == network.source.fingerprint
    assert metadata["hyperlora.photos_sha256"] == identity.photos[0]
    assert (metadata["hyperlora.id_weight"], metadata["hyperlora.base_weight"]) == ("0.75", "0.4")
    assert metadata["hyperlora.version"]


@pytest.mark.parametrize(
    ("modules", "kohya", "architecture", "base_model"),
    [
        ([("attn1", None), ("attn2", 2048)] * 70, "sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora", "SDXL"),
        ([("attn1", None), ("attn2", 2048)] * 34, "sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora", "SSD-1B"),
        ([("attn1", None), ("attn2", 768)] * 16, "sd_v1", "stable-diffusion-v1/lora", "SD 1.5"),
        ([("attn1", None), ("attn2", 64)] * 16, None, None, None),
    ],
)
def test_a_lora_says_which_base_model_it_is_for(modules, kohya, architecture, base_model):
    metadata = metadata_of([AttentionModule(f"blocks.{i}.{name}", 64, text) for i, (name, text) in enumerate(modules)])
    said = [metadata.get(key) for key in ("ss_base_model_version", "modelspec.architecture", "hyperlora.base_model")]
    assert said == [kohya, architecture, base_model]


def test_settings_change_what_clip_sees(network, clip, references):
    rows = [
        encode_id(network, clip, [references["obama"]], background, grey)[0].id_rows
        for background in (True, False)
        for grey in (True, False)
    ]
    for one, other in itertools.combinations(rows, 2):
        assert (one - other).abs().max() > 1e-3


def test_another_checkpoints_identity_is_refused(identity, golden_checkpoint):
    other = HyperLoRA.load(golden_checkpoint)
    with pytest.raises(HyperLoRAError, match=rf"made by the HyperLoRA '{HYPER_LORA}' \(.*'golden_checkpoint0' \("):
        generate(other, identity)


@pytest.mark.long
def test_a_photo_without_a_face(analyzer, photos):
    pictures = [open_photo(photos["obama"]), Image.new("RGB", (300, 200)), open_photo(photos["biden"])]
    with pytest.raises(NoFaceError, match="photo 2 of 3: no face was found"):
        find_references(analyzer, pictures)
    done = []
    left = find_references(analyzer, pictures, on_no_face="skip", progress=done.append)
    assert [ref.number for ref in left] == [1, 3] and done == [1, 2, 3]
    with pytest.raises(NoFaceError, match="the face was found in none of the 1 photos"):
        find_references(analyzer, pictures[1:2], on_no_face="skip")
    with pytest.raises(HyperLoRAError, match="no photo was given"):
        find_references(analyzer, [])
    with pytest.raises(NoFaceError, match="the reference photo for the best match: no face was found"):
        find_references(analyzer, pictures[:1], "best match", match=pictures[1], on_no_face="skip")
    with pytest.raises(HyperLoRAError, match="on_no_face is 'ignore'; one of error, skip, bypass"):
        find_references(analyzer, pictures, on_no_face="ignore")


def test_an_error_while_looking_at_a_photo_is_not_swallowed(analyzer, photos):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_references(analyzer, [open_photo(photos["obama"])], on_no_face="skip", progress=interrupt)


@pytest.fixture
def command(models, face_pack, photos, tmp_path):
    """``hyperlora generate`` with good arguments, of which a test may replace some."""

    def arguments(**changes: object) -> list[str]:
        given = {
            "model": models / "hyper_lora" / HYPER_LORA,
            "faces": face_pack,
            "clip": models / "clip_vision" / CLIP_VISION,
            "image": photos["obama"],
            "out": tmp_path / "person.safetensors",
        } | changes
        return ["generate", *(str(part) for name, value in given.items() for part in (f"--{name}", value))]

    return arguments


def test_the_command_writes_what_the_steps_give(command, network, identity, tmp_path):
    assert main([*command(), "--dtype", "fp32"]) == 0
    expected = generate(network, identity, 0.8, 0.0)
    written = LoRA.load(tmp_path / "person.safetensors")
    assert written.keys() == expected.keys()
    assert all(torch.allclose(written[key], expected[key], rtol=1e-4, atol=1e-6) for key in expected)
    assert written.metadata["hyperlora.checkpoint"] == HYPER_LORA


@pytest.mark.long
def test_the_command_takes_several_photos_and_a_base_weight(command, photos, tmp_path):
    more = ["--image", str(photos["obama2"]), "--base-weight", "0.4", "--on-no-face", "skip"]
    assert main([*command(), *more]) == 0
    written = LoRA.load(tmp_path / "person.safetensors")
    assert written.rank == 12
    assert {value.dtype for key, value in written.items() if key.endswith("weight")} == {torch.float16}
    assert len(written.metadata["hyperlora.photos_sha256"].split()) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "nowhere"}, "there is no HyperLoRA checkpoint nowhere"),
        ({"clip": "nowhere.safetensors"}, "there is no file nowhere.safetensors"),
        ({"faces": "nowhere"}, "there are no face models in"),
        ({"image": "nobody.jpg"}, "there is no photo nobody.jpg"),
        ({"out": "person.pt"}, "--out person.pt must end in .safetensors"),
        ({"device": "nonsense"}, "--device nonsense cannot be used here ("),
        ({"out": "/proc/person.safetensors"}, "/proc/person.safetensors cannot be written: "),
    ],
    ids=["model", "clip", "faces", "image", "out", "device", "unwritable"],
)
def test_the_command_says_in_one_line_what_is_wrong(command, changes, message, tmp_path, caplog):
    assert main(command(**changes)) == 1
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error.startswith("hyperlora: ") and message in error and "\n" not in error
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.long
def test_the_command_names_the_photo_without_a_face(command, tmp_path, caplog):
    Image.new("RGB", (90, 90)).save(tmp_path / "blank.png")
    assert main([*command(), "--image", str(tmp_path / "blank.png")]) == 1
    assert "photo 2 of 2: no face was found" in caplog.text


@pytest.mark.long
def test_pip_installs_the_command_and_the_core_alone(command, request, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(request.config.rootpath / name, source)
    for name in ("hyperlora_core", "nodes", "demo"):
        shutil.copytree(request.config.rootpath / name, source / name)
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(target), str(source)], check=True, capture_output=True)
    assert {path.name for path in target.iterdir() if path.is_dir() and "-" not in path.name} == {
        "hyperlora_core",
        "bin",
    }
    script = target / "bin" / "hyperlora"
    environment = {"PYTHONPATH": str(target), "PATH": str(Path(sys.executable).parent)}
    result = subprocess.run([script, *command()], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr and (tmp_path / "person.safetensors").exists()
