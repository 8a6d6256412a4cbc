"""Wrong files: each is named before it is used, by the core and by ``hyperlora inspect``."""

import io
import pickle
import random
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from hyperlora_core import ClipVision, FaceAnalyzer, HyperLoRA, HyperLoRAError, LoRA
from hyperlora_core.doctor.inspection import inspect
from hyperlora_core.network.config import Source
from tests.support import wrong_files


def refusal(load, *arguments, **more) -> str:
    with pytest.raises(HyperLoRAError) as caught:
        load(*arguments, **more)
    return str(caught.value)


@pytest.mark.long
@pytest.mark.parametrize("row", wrong_files.CHECKPOINTS, ids=lambda row: row.name)
def test_a_wrong_checkpoint(row, golden_checkpoint, tmp_path):
    wrong_files.make_all([row], tmp_path, golden_checkpoint)
    path = tmp_path / row.name
    assert row.message in refusal(HyperLoRA.load, path)
    lines, good = inspect(path)
    if " It is " in f" {row.message}" and good:
        kind = row.message.removeprefix("It is ").partition(":")[0]
        assert kind in lines[0]
        assert any(line.startswith("what to do with it: ") for line in lines)
    elif "unknown.safetensors" not in row.name:
        assert not good and row.message in lines[0]


@pytest.mark.parametrize("row", wrong_files.CLIPS, ids=lambda row: row.name)
def test_a_wrong_clip(row, golden_checkpoint, tmp_path):
    wrong_files.make_all([row], tmp_path, golden_checkpoint)
    assert row.message in refusal(ClipVision.load, tmp_path / row.name, width=1024)


@pytest.mark.parametrize(
    "row", [row for row in wrong_files.FACES if row.name != "other_embedder"], ids=lambda r: r.name
)
def test_wrong_face_models(row, face_pack, tmp_path):
    wrong_files.make_all([row], tmp_path, face_pack)
    assert row.message in refusal(FaceAnalyzer.load, tmp_path / row.name)


def test_a_zip_of_face_models_itself(face_pack, tmp_path):
    wrong_files.zip_beside(tmp_path / "antelopev2", face_pack)
    assert "antelopev2.zip is still packed" in refusal(FaceAnalyzer.load, tmp_path / "antelopev2.zip")
    assert "antelopev2.zip is still packed" in inspect(tmp_path / "antelopev2.zip")[0][0]


def test_a_page_saved_as_the_zip_of_face_models(tmp_path):
    (tmp_path / "antelopev2.zip").write_bytes(wrong_files.HTML)
    assert "antelopev2.zip is a web page, not a model" in refusal(FaceAnalyzer.load, tmp_path / "antelopev2")
    (tmp_path / "antelopev2.zip").write_bytes(b"PK\x03\x04 and then nothing")
    assert "antelopev2.zip is cut short" in refusal(FaceAnalyzer.load, tmp_path / "antelopev2")


def test_what_a_mac_leaves_beside_the_models_is_no_model(face_pack, tmp_path):
    pack = wrong_files.linked(tmp_path / "antelopev2", face_pack)
    (pack / "._2d106det.onnx").write_bytes(b"\0\5\x16\7")
    assert FaceAnalyzer.load(pack).embedder.sha256.startswith("87aacd")


def test_face_models_that_were_replaced_are_loaded_again(face_pack, tmp_path):
    pack = wrong_files.linked(tmp_path / "pack", face_pack)
    before = FaceAnalyzer.load(pack)
    assert FaceAnalyzer.load(pack) is before
    wrong_files.other_embedder(tmp_path / "other", face_pack)
    (pack / "glintr100.onnx").unlink()
    (tmp_path / "other" / "glintr100.onnx").rename(pack / "w600k_r50.onnx")
    after = FaceAnalyzer.load(pack)
    assert after is not before and after.embedder.sha256 != before.embedder.sha256
    assert after.embedder.name == "pack/w600k_r50.onnx"


def test_what_may_not_be_read(golden_checkpoint, tmp_path, monkeypatch):
    """Root may read everything, so the refusal itself is what is put in."""

    def forbidden(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "one.safetensors"
    file.write_bytes(wrong_files.tensors("a"))
    monkeypatch.setattr("pathlib.Path.iterdir", forbidden)
    monkeypatch.setattr("pathlib.Path.open", forbidden)
    for path in (golden_checkpoint, file):
        assert f"{path} cannot be read: Permission denied" in refusal(HyperLoRA.load, path)


def test_lora_files_that_are_not_whole(tmp_path):
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    down, up = torch.ones(4, 8), torch.ones(8, 4)
    for name, state in (
        ("no_up", {f"{key}.lora_down.weight": down}),
        ("alphas", {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.ones(2)}),
    ):
        path = tmp_path / f"{name}.safetensors"
        save_file(state, path)
        assert f"{path} is no whole LoRA" in refusal(LoRA.load, path)
        assert inspect(path)[1], "still a LoRA in kohya's format"


def test_pickles_that_are_broken_are_named(tmp_path):
    """A thousand flips of a packed pickle: none gets through as anything but our error."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(dict.fromkeys((f"ip_adapter.{i}" for i in range(200)), 1)))
    data, path = buffer.getvalue(), tmp_path / "broken.bin"
    for seed in range(1000):
        choose = random.Random(seed)
        spoilt = bytearray(data)
        spoilt[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        path.write_bytes(spoilt)
        refusal(HyperLoRA.load, path)


@pytest.mark.parametrize("width", [10**17, 10**19, 0, -1, 1.5, True, "320"])
def test_widths_that_make_no_sense(golden_checkpoint, tmp_path, width):
    change = wrong_files.modules(lambda pairs: pairs[0][1].update(hidden_size=width))
    wrong_files.with_part("hyper_lora_modules.json", change)(tmp_path / "wide", golden_checkpoint)
    assert "where numbers were expected" in refusal(HyperLoRA.load, tmp_path / "wide")


def test_a_checkpoint_nested_in_itself_is_found(golden_checkpoint, tmp_path):
    wrong_files.linked(tmp_path / "fidelity" / "fidelity", golden_checkpoint)
    nested, plain = HyperLoRA.load(tmp_path / "fidelity"), HyperLoRA.load(golden_checkpoint)
    assert nested.source == Source("fidelity", plain.source.fingerprint)


def test_a_checkpoint_one_folder_deeper_is_pointed_at(golden_checkpoint, tmp_path):
    deeper = wrong_files.linked(tmp_path / "HyperLoRA" / "v1_edit", golden_checkpoint)
    assert f"They are one folder deeper: choose {deeper}" in refusal(HyperLoRA.load, tmp_path / "HyperLoRA")


def test_a_folder_that_holds_another_packs_file_says_which(tmp_path):
    (tmp_path / "ip-adapter.bin").write_bytes(wrong_files.pickled(wrong_files.IP_ADAPTER))
    assert "ip-adapter.bin is an IP-Adapter, in a pickle: it belongs" in refusal(HyperLoRA.load, tmp_path)
