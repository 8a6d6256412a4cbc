"""Conversion between the two layouts, and what ``hyperlora inspect`` says of them."""

import filecmp
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hyperlora_core import HyperLoRA, HyperLoRAError, files
from hyperlora_core.cli import main
from hyperlora_core.doctor.inspection import inspect
from hyperlora_core.files.encoders import ANTELOPEV2, UNKNOWN, Encoder, Encoders
from hyperlora_core.lora.names import flat_name
from hyperlora_core.lora.value import Factors, LoRA
from hyperlora_core.network.checkpoint import read_checkpoint
from hyperlora_core.network.conversion import convert
from hyperlora_core.network.layout import PARTS
from tests.support import models as demo


@pytest.fixture(scope="module")
def one_file(golden_checkpoint, tmp_path_factory):
    return convert(golden_checkpoint, tmp_path_factory.mktemp("one") / "golden.safetensors")


def equal(one, other) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(n == m and a.dtype == b.dtype and torch.equal(a, b) for (n, a), (m, b) in pairs)


def test_there_and_back_is_the_same_to_the_byte(golden_checkpoint, one_file, tmp_path):
    back = convert(one_file, tmp_path / "back")
    names = sorted(path.name for path in golden_checkpoint.iterdir())
    assert sorted(path.name for path in back.iterdir()) == names and len(names) == 5
    assert filecmp.cmpfiles(golden_checkpoint, back, names, shallow=False) == (names, [], [])
    again = convert(back, tmp_path / "again.safetensors")
    assert filecmp.cmp(one_file, again, shallow=False)


def test_a_json_that_went_through_windows_stays_as_it_is(checkpoint_copy, golden_checkpoint, tmp_path):
    path = checkpoint_copy / "hyper_lora_modules.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    back = convert(convert(checkpoint_copy, tmp_path / "one.safetensors"), tmp_path / "back")
    assert filecmp.cmp(back / path.name, path, shallow=False)
    assert equal(HyperLoRA.load(back), HyperLoRA.load(golden_checkpoint))


def test_both_layouts_are_one_checkpoint(golden_checkpoint, one_file):
    folder, file = HyperLoRA.load(golden_checkpoint), HyperLoRA.load(one_file)
    assert equal(folder, file) and folder.config == file.config
    assert folder.source.fingerprint == file.source.fingerprint
    assert (folder.source.name, file.source.name) == (golden_checkpoint.name, "golden")


def test_types_of_several_widths_and_metadata_survive(checkpoint_copy, tmp_path):
    """An odd number of half-precision values before single-precision ones: nothing may lie between two numbers."""
    projector, resampler = (checkpoint_copy / f"{part}.safetensors" for part in ("id_projector", "resampler"))
    wider = {name: tensor.float() for name, tensor in load_file(projector).items()}
    save_file(wider, projector, metadata={"format": "pt", "note": "é"})
    save_file({name: tensor.bfloat16() for name, tensor in load_file(resampler).items()}, resampler)
    file = convert(checkpoint_copy, tmp_path / "mixed.safetensors")
    assert equal(HyperLoRA.load(checkpoint_copy), HyperLoRA.load(file))
    back = convert(file, tmp_path / "back")
    for path in (projector, resampler):
        assert filecmp.cmp(back / path.name, path, shallow=False)


def test_any_safetensors_reader_opens_the_file(one_file):
    state = load_file(one_file)
    assert {name.partition(".")[0] for name in state} == set(PARTS)
    assert state["resampler.latents"].dtype == torch.float16


@pytest.mark.parametrize("reads", [("face", "clip"), ("face",), ("clip",)], ids="+".join)
def test_every_kind_of_checkpoint_is_converted(reads, tmp_path):
    shape = demo.Shape(bases=4, dim=64, heads=1, depth=1, reads=reads, base=False, attentions=4)
    demo.make_hyper_lora(tmp_path / "folder", torch.Generator().manual_seed(0), shape)
    file = convert(tmp_path / "folder", tmp_path / "file.safetensors")
    loaded = HyperLoRA.load(file)
    assert equal(HyperLoRA.load(tmp_path / "folder"), loaded)
    assert (loaded.config.reads_faces, loaded.config.reads_clip) == ("face" in reads, "clip" in reads)


def test_encoders_are_noted_and_stay(golden_checkpoint, tmp_path):
    encoders = Encoders(Encoder("ViT-L/14 at 224", "a" * 64), ANTELOPEV2)
    file = convert(golden_checkpoint, tmp_path / "noted.safetensors", encoders)
    folder = convert(file, tmp_path / "noted")
    again = convert(folder, tmp_path / "again.safetensors")
    assert [read_checkpoint(path).encoders for path in (file, folder, again)] == [encoders] * 3
    assert HyperLoRA.load(folder).encoders == encoders
    assert read_checkpoint(golden_checkpoint).encoders == UNKNOWN
    assert read_checkpoint(folder).fingerprint == read_checkpoint(golden_checkpoint).fingerprint
    assert filecmp.cmp(file, again, shallow=False)


@pytest.mark.long
def test_heads_of_another_width_are_noted_and_stay(golden_checkpoint, golden, checkpoint_copy, tmp_path):
    """Shapes do not tell how the attention is cut into heads: the file does."""
    bases = load_file(checkpoint_copy / "hyper_lora_modules.safetensors")
    save_file(bases, checkpoint_copy / "hyper_lora_modules.safetensors", {"hyperlora.config": '{"head_dim": 32}'})
    file = convert(checkpoint_copy, tmp_path / "narrow.safetensors")
    narrow = HyperLoRA.load(convert(file, tmp_path / "back"))
    assert (narrow.config.id_resampler.heads, narrow.config.head_dim) == (4, 32)
    assert narrow.source.fingerprint == HyperLoRA.load(file).source.fingerprint
    inputs = golden["input.id_embed"][:, 0], golden["input.clip_hidden"]
    usual = HyperLoRA.load(golden_checkpoint)
    assert (narrow.id_coefficients(*inputs) - usual.id_coefficients(*inputs)).abs().max() > 1e-3


def test_the_config_is_noted_and_compared(golden_checkpoint, one_file, checkpoint_copy):
    noted = json.loads(files.open_safetensors(one_file).metadata["hyperlora.config"])
    assert noted == HyperLoRA.load(golden_checkpoint).config.to_json()
    assert (noted["dim"], noted["heads"], noted["id_tokens"], noted["id_rank"], noted["base_rank"]) == (192, 2, 4, 8, 4)
    bases = load_file(checkpoint_copy / "hyper_lora_modules.safetensors")
    wrong = {"hyperlora.config": json.dumps(noted | {"id_rank": 4, "bases": 128})}
    save_file(bases, checkpoint_copy / "hyper_lora_modules.safetensors", wrong)
    with pytest.raises(HyperLoRAError, match="not of the config that it notes: bases 128, id_rank 4"):
        HyperLoRA.load(checkpoint_copy)


def test_nothing_is_overwritten_and_nothing_is_left_behind(golden_checkpoint, one_file, checkpoint_copy, tmp_path):
    with pytest.raises(HyperLoRAError, match=r"golden\.safetensors exists: choose another name"):
        convert(golden_checkpoint, one_file)
    path = checkpoint_copy / "resampler.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(HyperLoRAError, match="is cut short"):
        convert(checkpoint_copy, tmp_path / "out.safetensors")
    (tmp_path / "file").touch()
    with pytest.raises(HyperLoRAError, match="cannot be written"):
        convert(golden_checkpoint, tmp_path / "file" / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "file"]


def test_inspect_says_what_a_checkpoint_is(golden_checkpoint, one_file):
    for path, layout in ((golden_checkpoint, "folder with hyper_lora_modules.json"), (one_file, "one file")):
        lines, good = inspect(path)
        said = dict(line.split(maxsplit=1) for line in lines[1:])
        assert good and lines[0] == f"{path} is a HyperLoRA checkpoint"
        assert said["layout"] == f"{layout}: hyper_lora_modules, resampler, id_projector, base_resampler"
        assert said["for"] == "30 attentions, as Segmind Vega has"
        assert said["reads"] == "a face embedding of 512 numbers, as 4 tokens and CLIP tokens 64 wide"
        assert said["ID-LoRA"] == "rank 8, out of 4 bases" and said["Base-LoRA"] == "rank 4"
        assert said["resampler"] == "2 layers, 192 wide, 2 heads of 64, feed-forward x4"
        assert said["fingerprint"] == read_checkpoint(path).fingerprint
        assert said["all"].startswith("zero"), "the golden checkpoint's bases are mostly blank"


def test_inspect_reads_everything_on_request(one_file, golden_checkpoint, tmp_path):
    assert inspect(one_file, full=True)[0][-1] == "every number  finite, and as it was written"
    assert inspect(golden_checkpoint, full=True)[0][-1].startswith("every number  finite; sha256 ")


def test_what_samples_miss_is_found_by_reading_everything(tmp_path):
    """Of a checkpoint over 64 MB a flip in the middle of a tensor goes unseen by samples."""
    shape = demo.Shape(bases=40)
    demo.make_hyper_lora(tmp_path / "large", torch.Generator().manual_seed(0), shape)
    file = convert(tmp_path / "large", tmp_path / "large.safetensors")
    checkpoint = read_checkpoint(file)
    assert checkpoint.size > 64 << 20
    tensor = checkpoint.parts["hyper_lora_modules"]["1.to_k.id_down_basis"]
    with file.open("r+b") as stream:
        stream.seek(tensor.start + tensor.length // 2)
        stream.write(b"\x12\x34")
    assert inspect(file)[1]
    assert inspect(file, full=True) == (
        [f"{file} is not as it was written, its sha256 differs: download it again"],
        False,
    )


def test_inspect_names_clip_face_models_and_loras(models, face_pack, tmp_path):
    clip = models / "clip_vision" / demo.CLIP_VISION
    lines, good = inspect(clip)
    assert good and lines[:2] == [f"{clip} is a CLIP vision model", lines[1]] and "ViT 64 wide" in lines[1]
    lines, good = inspect(face_pack)
    assert good and "87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581" in lines[2]
    style = models / "loras" / demo.STYLE_LORA
    lines, good = inspect(style)
    assert good and lines[0] == f"{style} is a LoRA in kohya's format" and "models/loras" in lines[-1]
    assert lines[1:4] == [
        "targets       other modules, or not these alone: 225 tensors",
        "rank, alpha   4, 4",
        "names         of modules as diffusers has them; for SDXL kohya's sd-scripts find none of these",
    ]
    assert inspect(tmp_path / "nothing") == ([f"there is no file or folder {tmp_path / 'nothing'}"], False)
    assert not inspect(tmp_path)[1]


def test_inspect_says_rank_and_alpha_of_a_lora(tmp_path):
    places = [f"mid_block.attentions.0.transformer_blocks.0.attn1.{each}" for each in ("to_q", "to_k")]
    one = Factors(torch.ones(8, 6), torch.ones(6, 8), alpha=4.0)
    other = Factors(torch.ones(16, 6), torch.ones(6, 16), alpha=2.5)
    for factors, said in ((one, "8, 4"), (other, "8 to 16, 2.5 to 4")):
        path = LoRA.of_factors(dict(zip(places, (one, factors), strict=True))).save(tmp_path / "lora.safetensors")
        lines, good = inspect(path)
        assert good and lines[1:3] == ["targets       2 attention projections", f"rank, alpha   {said}"]
        assert not any(line.startswith("names") for line in lines)
    old = {f"{flat_name(places[0])}.lora_{way}.weight": torch.ones(2, 2) for way in ("up", "down")}
    save_file(old, tmp_path / "old.safetensors")
    (line,) = [line for line in inspect(tmp_path / "old.safetensors")[0] if line.startswith("names")]
    assert line.endswith("find none of these: in Python, hyperlora_core.LoRA.load(old).save(new) writes kohya's")
    save_file({"unet.mid_block.attn.to_q.lora_A.weight": torch.ones(3, 6)}, tmp_path / "peft.safetensors")
    assert "rank, alpha   3, none, which counts as the rank" in inspect(tmp_path / "peft.safetensors")[0]


def test_a_zip_left_in_a_checkpoints_folder_makes_it_no_face_pack(checkpoint_copy):
    (checkpoint_copy / "downloaded.zip").write_bytes(b"PK")
    assert inspect(checkpoint_copy)[0][0] == f"{checkpoint_copy} is a HyperLoRA checkpoint"


def test_encoders_that_are_noted_are_not_replaced(golden_checkpoint, tmp_path):
    noted = convert(golden_checkpoint, tmp_path / "noted.safetensors", Encoders(face=ANTELOPEV2))
    with pytest.raises(HyperLoRAError, match="notes the face embedder antelopev2's glintr100 already, and mine is"):
        convert(noted, tmp_path / "other.safetensors", Encoders(face=Encoder("mine", "0" * 64)))
    convert(noted, tmp_path / "same.safetensors", Encoders(face=ANTELOPEV2))


def test_a_folder_of_the_face_alone_notes_that_it_needs_its_projector(tmp_path):
    shape = demo.Shape(bases=4, dim=64, heads=1, depth=1, reads=("face",), base=False, attentions=4)
    demo.make_hyper_lora(tmp_path / "folder", torch.Generator().manual_seed(0), shape)
    back = convert(convert(tmp_path / "folder", tmp_path / "file.safetensors"), tmp_path / "back")
    (back / "id_projector.safetensors").unlink()
    with pytest.raises(HyperLoRAError, match="not of the config that it notes: id_embed_dim 512"):
        HyperLoRA.load(back)


def test_the_commands(golden_checkpoint, models, face_pack, tmp_path, capsys, caplog):
    file = tmp_path / "noted.safetensors"
    clip = models / "clip_vision" / demo.CLIP_VISION
    assert main(["convert", str(golden_checkpoint), str(file), "--clip", str(clip), "--faces", str(face_pack)]) == 0
    assert main(["inspect", str(file), "--full"]) == 0
    said = capsys.readouterr().out
    assert "CLIP          ViT 64 wide, patch 32 at 224 (" in said
    assert "faces         antelopev2/glintr100.onnx (87aacdfe57)" in said
    with_metadata = json.loads(file.read_bytes()[8 : 8 + int.from_bytes(file.read_bytes()[:8], "little")])
    assert with_metadata["__metadata__"]["hyperlora.format"] == "1"
    assert main(["inspect", str(tmp_path / "nothing")]) == 1
    assert main(["convert", str(tmp_path / "nothing"), str(tmp_path / "x")]) == 1
    assert "there is no HyperLoRA checkpoint" in caplog.text
