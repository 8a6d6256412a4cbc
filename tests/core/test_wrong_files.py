"""Wrong files: each is named before it is used, by the core and by ``hyperlora inspect``."""

import pytest

from hyperlora_core import ClipVision, FaceAnalyzer, HyperLoRA, HyperLoRAError
from hyperlora_core.inspection import inspect
from tests import wrong_files


def refusal(load, *arguments, **more) -> str:
    with pytest.raises(HyperLoRAError) as caught:
        load(*arguments, **more)
    return str(caught.value)


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


def test_a_checkpoint_nested_in_itself_is_found(golden_checkpoint, tmp_path):
    wrong_files.linked(tmp_path / "fidelity" / "fidelity", golden_checkpoint)
    nested, plain = HyperLoRA.load(tmp_path / "fidelity"), HyperLoRA.load(golden_checkpoint)
    assert nested.source == {"name": "fidelity", "fingerprint": plain.source["fingerprint"]}


def test_a_checkpoint_one_folder_deeper_is_pointed_at(golden_checkpoint, tmp_path):
    deeper = wrong_files.linked(tmp_path / "HyperLoRA" / "v1_edit", golden_checkpoint)
    assert f"They are one folder deeper: choose {deeper}" in refusal(HyperLoRA.load, tmp_path / "HyperLoRA")


def test_a_folder_that_holds_another_packs_file_says_which(tmp_path):
    (tmp_path / "ip-adapter.bin").write_bytes(wrong_files.pickled(wrong_files.IP_ADAPTER))
    assert "ip-adapter.bin is an IP-Adapter, in a pickle: it belongs" in refusal(HyperLoRA.load, tmp_path)
