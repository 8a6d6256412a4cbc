"""Checkpoints that read one condition alone, and the encoders that checkpoints were trained with."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hyperlora_core import (
    ClipVision,
    FaceAnalyzer,
    HyperLoRA,
    HyperLoRAError,
    encode_id,
    find_references,
    generate,
    open_photo,
)
from hyperlora_core.cli import main
from hyperlora_core.clip.weights import find_tower
from hyperlora_core.files.encoders import ANTELOPEV2, Encoder, check_clip, check_face, face_encoder
from tests.support import models as demo


@pytest.fixture(scope="module")
def face(face_pack, photos):
    return find_references(FaceAnalyzer.load(face_pack), [open_photo(photos["obama"])])


@pytest.fixture
def kind(tmp_path):
    def make(*reads: str) -> HyperLoRA:
        folder = tmp_path / "_".join(reads)
        shape = demo.Shape(base=False, reads=reads, attentions=4)
        demo.make_hyper_lora(folder, torch.Generator().manual_seed(2), shape)
        return HyperLoRA.load(folder)

    return make


def test_clip_alone_is_what_the_public_implementation_computes(checkpoint_copy, golden):
    """The Base resampler reads CLIP alone: in the ID-LoRA's place it has to give the same golden numbers."""
    folder = checkpoint_copy
    (folder / "id_projector.safetensors").unlink()
    (folder / "base_resampler.safetensors").replace(folder / "resampler.safetensors")
    bases = load_file(folder / "hyper_lora_modules.safetensors")
    save_file({name: t for name, t in bases.items() if ".id_" in name}, folder / "hyper_lora_modules.safetensors")
    network = HyperLoRA.load(folder)
    assert (network.config.reads_faces, network.config.reads_clip, network.config.clip_width) == (False, True, 64)
    found = network.id_coefficients(clip_tokens=golden["input.base_clip_hidden"])
    torch.testing.assert_close(found, golden["expect.base_coefficients"][0], rtol=0, atol=1e-5)
    with pytest.raises(HyperLoRAError, match="this HyperLoRA needs CLIP tokens, and none were given"):
        network.id_rows()


def test_the_face_alone_is_the_whole_network_without_its_look_at_clip(checkpoint_copy, golden_checkpoint, golden):
    """The golden network with the attention to CLIP taken out, in two ways."""
    path = checkpoint_copy / "resampler.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    silenced = {n: torch.zeros_like(t) if ".attn3.to_out" in n else t for n, t in tensors.items()}
    save_file(silenced, path)
    inputs = golden["input.id_embed"][:, 0], golden["input.clip_hidden"]
    expected = HyperLoRA.load(checkpoint_copy).id_coefficients(*inputs)
    save_file({n: t for n, t in tensors.items() if "attn3" not in n and "proj_in_2" not in n}, path)
    network = HyperLoRA.load(checkpoint_copy)
    assert (network.config.reads_faces, network.config.reads_clip) == (True, False)
    torch.testing.assert_close(network.id_coefficients(inputs[0]), expected, rtol=0, atol=1e-5)
    assert (expected - HyperLoRA.load(golden_checkpoint).id_coefficients(*inputs)).abs().max() > 1e-3
    with pytest.raises(HyperLoRAError, match="this HyperLoRA needs face embeddings, and none were given"):
        network.id_rows(clip_tokens=inputs[1])


def test_the_face_alone_needs_no_clip(kind, face):
    network = kind("face")
    assert network.config.clip_width is None
    identity, pictures = encode_id(network, None, face)
    assert identity.id_rows.shape == (1, 32, 16) and len(pictures) == 1
    torch.testing.assert_close(identity.id_rows, network.id_rows(torch.from_numpy(face[0].id_embed)[None]))


def test_clip_alone_takes_no_second_look_at_the_face(kind, models, face_pack, photos, monkeypatch):
    network = kind("clip")
    analyzer = FaceAnalyzer.load(face_pack)

    def second_look(*_):
        raise AssertionError("not needed")

    monkeypatch.setattr(FaceAnalyzer, "id_embedding", second_look)
    references = find_references(analyzer, [open_photo(photos["obama"])], embed=network.config.reads_faces)
    assert references[0].id_embed is None
    clip = ClipVision.load(models / "clip_vision" / demo.CLIP_VISION)
    assert encode_id(network, clip, references)[0].id_rows.shape == (1, 32, 16)


@pytest.mark.parametrize("reads", [("face",), ("clip",), ("face", "clip")], ids="+".join)
def test_the_command_makes_a_lora_of_every_kind(kind, reads, models, face_pack, photos, tmp_path, caplog):
    kind(*reads)
    arguments = ["generate", "--model", str(tmp_path / "_".join(reads)), "--faces", str(face_pack)]
    arguments += ["--image", str(photos["obama"]), "--out", str(tmp_path / "out.safetensors")]
    clip = ["--clip", str(models / "clip_vision" / demo.CLIP_VISION)]
    if "clip" in reads:
        assert main(arguments) == 1
        assert "this HyperLoRA reads CLIP: name it with --clip" in caplog.text
    assert main(arguments + clip * ("clip" in reads)) == 0
    assert (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(("tensor", "what"), [("resampler.proj_out", "coefficients"), ("id_bases", "weights")])
def test_numbers_that_are_not_finite_never_become_a_lora(tensor, what, kind, face):
    """As half precision may overflow on a GPU, where the file itself is right."""
    network = kind("face")
    leaf = network.resampler.proj_out if tensor == "resampler.proj_out" else network.id_bases.bases[3]["to_v"].up
    leaf.weight = torch.nn.Parameter(torch.full_like(leaf.weight, torch.inf), requires_grad=False)
    with pytest.raises(HyperLoRAError, match=f"the LoRA's {what} are not finite numbers: the checkpoint is broken"):
        generate(network, encode_id(network, None, face)[0])


@pytest.mark.long
def test_photos_of_two_people_are_remarked_upon(face_pack, photos):
    remarks = []
    opened = [open_photo(photos[name]) for name in ("obama", "obama2", "biden")]
    find_references(FaceAnalyzer.load(face_pack), opened, report=remarks.append)
    assert len(remarks) == 1 and remarks[0].startswith("photo 1 and photo 3 may show two people: their likeness is -0.")
    find_references(FaceAnalyzer.load(face_pack), opened[:2], report=remarks.append)
    assert len(remarks) == 1


def test_a_tower_is_the_same_encoder_in_every_type_and_layout(models, tmp_path):
    path = models / "clip_vision" / demo.CLIP_VISION
    expected = find_tower(path).encoder
    state = load_file(path)
    variants = {
        "half": {name: tensor.half() for name, tensor in state.items()},
        "prefixed": {f"model.{name}": tensor for name, tensor in state.items()},
        "without_head": {name: tensor for name, tensor in state.items() if "projection" not in name},
    }
    for name, variant in variants.items():
        save_file(variant, tmp_path / f"{name}.safetensors")
        assert find_tower(tmp_path / f"{name}.safetensors").encoder == expected, name
    other = {name: tensor * 1.01 if "class_embedding" in name else tensor for name, tensor in state.items()}
    save_file(other, tmp_path / "other.safetensors")
    assert find_tower(tmp_path / "other.safetensors").encoder.sha256 != expected.sha256


def test_face_embedders_are_told_by_their_content(face_pack, tmp_path, caplog):
    shutil.copy(face_pack / "glintr100.onnx", tmp_path / "w600k_r50.onnx")
    ours, renamed = face_encoder(face_pack / "glintr100.onnx"), face_encoder(tmp_path / "w600k_r50.onnx")
    check_face(ours, ours)
    check_face(ours, renamed)
    with pytest.raises(HyperLoRAError, match=r"trained with the face embedder antelopev2's glintr100 \(4ab1d6435d\)"):
        check_face(ANTELOPEV2, ours)
    with pytest.raises(HyperLoRAError, match=r"w600k_r50\.onnx \(87aacdfe57\) is given: the same photo means another"):
        check_face(None, renamed)
    check_face(None, renamed, "allow")
    assert "it is used all the same, for other_encoders is 'allow'" in caplog.text
    caplog.clear()
    check_face(None, ours)
    assert "is not known; this HyperLoRA takes antelopev2's glintr100" in caplog.text


def test_clip_towers_are_compared_where_the_checkpoint_notes_one():
    one, other = Encoder("ViT-L/14 at 224", "1" * 64), Encoder("ViT-L/14 at 224", "2" * 64)
    check_clip(None, one)
    check_clip(one, one)
    check_clip(one, other, "allow")
    with pytest.raises(HyperLoRAError, match=r"the CLIP vision model ViT-L/14 at 224 \(1111111111\), and ViT-L/14 at"):
        check_clip(one, other)


def test_an_embedder_is_hashed_once(face_pack, monkeypatch):
    face_encoder(face_pack / "glintr100.onnx")
    monkeypatch.setattr("hashlib.sha256", None)
    assert face_encoder(face_pack / "glintr100.onnx").sha256.startswith("87aacd")
