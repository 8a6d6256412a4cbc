"""The Python blocks of the documents are run as they stand there, on the demo's models and real photos."""

import shutil

import pytest
import torch
from PIL import Image

from hyperlora_core import LoRA, load_identity
from hyperlora_core.identity import mixing
from tests.documents import reading
from tests.documents.workplace import workplace

pytestmark = pytest.mark.long

RUN_HERE = ("docs/COMMAND_LINE.md",)
ON_A_SERVER = "ComfyClient("
"""What marks a block that tests/host/test_readme.py runs."""


def test_every_block_is_run():
    blocks = [block for document in reading.documents() for block in reading.blocks(document, "python")]
    assert {block.document for block in blocks} <= {*RUN_HERE}, "a document whose blocks no test runs"
    assert sum(ON_A_SERVER in block.text for block in blocks) == 1 < len(blocks)


@pytest.mark.parametrize("document", RUN_HERE)
def test_blocks_run_one_after_the_other(document, models, face_pack, photos, tmp_path, monkeypatch, capsys):
    workplace(tmp_path, models, face_pack, photos)
    shutil.copy(photos["obama3"], tmp_path / "another.jpg")
    Image.open(photos["obama2"]).save(tmp_path / "portrait.png")
    for name, photo in (("smiling", "obama"), ("serious", "obama2")):
        Image.open(photos[photo]).save(tmp_path / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    encoding, *following = [block for block in reading.blocks(document, "python") if ON_A_SERVER not in block.text]
    run(encoding, names)
    assert LoRA.load(tmp_path / "person.safetensors").norm > 0
    for block in following:
        if "ben.safetensors" in block.text:  # the second person of the blend is the reader's own
            keep_second_person(names)
        run(block, names)
    between = names["between"]
    anna, ben = load_identity("anna.safetensors"), load_identity("ben.safetensors")
    assert torch.allclose(between.id_rows, mixing.blend(anna, ben, 0.3, "spherical").id_rows)
    assert LoRA.load("smile.safetensors").rank == 2 * LoRA.load("person.safetensors").rank
    printed = capsys.readouterr().out
    assert "picture 1: 0." in printed and "nothing has to be replaced" in printed


def keep_second_person(names: dict[str, object]) -> None:
    """Write ``ben.safetensors``, made by the same HyperLoRA."""
    block = (
        "from hyperlora_core import save_identity\n"
        "with torch.inference_mode():\n"
        "    ben, _ = encode_id(network, clip, find_references(analyzer, [open_photo('ben.jpg')]))\n"
        "save_identity(ben, 'ben.safetensors')\n"
    )
    exec(block, names)


def run(block: reading.Block, names: dict[str, object]) -> None:
    """Run a block; a fault in it is shown by its line of the document."""
    source = "\n" * block.line + block.text
    exec(compile(source, block.document, "exec"), names)
