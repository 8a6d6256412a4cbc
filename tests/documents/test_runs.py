"""The commands of the documents are run as they stand there, on small models and real photos."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.server import PACK, PACK_NAME
from hyperlora_core import LoRA
from tests.documents import reading
from tests.documents.workplace import workplace

pytestmark = pytest.mark.long

_SHELL = """
hyperlora() { "$PYTHON" -m hyperlora_core.cli "$@"; }
pip() { :; }
"""


def typed(script: str, folder: Path, more: str = "", timeout: float = 500, **variables: str) -> str:
    """What a shell prints that is given the text of blocks.

    Args:
        script: the text.
        folder: that it is typed in, and its home.
        more: shell functions that stand in for commands.
        timeout: in seconds.
        variables: of the environment.
    """
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _SHELL + more + script],
        cwd=folder,
        env=dict(os.environ) | {"PYTHON": sys.executable, "PYTHONPATH": str(PACK), "HOME": str(folder), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:]
    return result.stdout


def block_with(document: str, words: str) -> str:
    """The text of the document's one shell block that holds certain words."""
    (block,) = [block for block in reading.blocks(document, "sh") if words in block.text]
    return block.text


def test_generate_makes_a_lora(models, face_pack, photos, tmp_path):
    workplace(tmp_path, models, face_pack, photos)
    script = block_with("README.md", "hyperlora generate")
    assert script == block_with("docs/COMMAND_LINE.md", "hyperlora generate")
    typed(script, tmp_path)
    assert LoRA.load(tmp_path / "person.safetensors").norm > 0


def test_a_checkpoint_is_inspected_and_converted_there_and_back(models, face_pack, photos, tmp_path):
    workplace(tmp_path, models, face_pack, photos)
    lines = block_with("docs/COMMAND_LINE.md", "hyperlora convert").splitlines(keepends=True)
    (asks,) = [line for line in lines if "# asks about each licence" in line]
    lines.remove(asks)
    script = "".join(lines).replace("/path/to/ComfyUI/models", "models")
    assert script.count("hyperlora ") == 4
    printed = typed(script, tmp_path)
    assert "fidelity" in printed and "missing" in printed
    original = tmp_path / "models" / "hyper_lora" / "sdxl_hyper_id_lora_v1_fidelity"
    for path in (tmp_path / "fidelity-folder").glob("*.safetensors"):
        assert path.read_bytes() == (original / path.name).read_bytes(), path.name


def test_doctor_prints_its_page(tmp_path):
    script = block_with("docs/TROUBLESHOOTING.md", "hyperlora doctor")
    assert script.count("doctor") == 2
    page = typed(script.replace("python -m", '"$PYTHON" -m'), tmp_path)
    assert page.count("what a report of a bug needs") == 2 and str(tmp_path) not in page


def test_the_clone_is_where_comfyui_looks(tmp_path):
    """From this checkout in place of the address, and with a pip that only looks for its file."""
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=PACK, capture_output=True, check=False).returncode:
        pytest.skip("this checkout has no git")
    script = block_with("README.md", "git clone")
    (address,) = [word for word in script.split() if word.startswith("https://")]
    (tmp_path / "ComfyUI" / "custom_nodes").mkdir(parents=True)
    typed(script.replace(address, f"file://{PACK}"), tmp_path, 'pip() { test "$1 $2" = "install -r"; test -f "$3"; }\n')
    pack = tmp_path / "ComfyUI" / "custom_nodes" / PACK_NAME
    assert (pack / "__init__.py").is_file() and (pack / "web").is_dir()
