"""docs/TRAIN_YOUR_OWN.md says the commands that ``make demo-models`` runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

from demo import face_pack
from demo.server import PACK
from demo.trained import make

TEXT = (PACK / "docs" / "TRAIN_YOUR_OWN.md").read_text(encoding="utf-8")
_PRINTING = """
said() { "$PYTHON" -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@"; }
hyperlora() { said hyperlora "$@"; }
python() { said python "$@"; }
"""


def typed(words: tuple[str, ...]) -> list[str]:
    """A step's words as a reader types them."""
    match words:
        case ("-m", "hyperlora_core.cli", *rest):
            return ["hyperlora", *rest]
        case ("-m", "hyperlora_core.training", *rest):
            return ["hyperlora", "train", *rest]
    return ["python", *words]


def arranged(words: list[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """What is done, and with which options, whatever their order."""
    name = re.search(r"^(.*?)(?: --|$)", " ".join(words))
    assert name
    options: list[tuple[str, ...]] = []
    for word in words[len(name[1].split(" ")) :]:
        if word.startswith("--"):
            options.append((word,))
        else:
            options[-1] += (word,)
    return name[1].split(" "), sorted(options)


def test_the_tutorial_types_what_the_command_runs():
    _, _, *blocks = re.findall(r"```sh\n(.+?)```", TEXT, re.DOTALL)
    printed = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _PRINTING + "".join(blocks)],
        env={"PYTHON": sys.executable, "work": "work", "faces": str(face_pack.face_pack())},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [arranged(json.loads(line)) for line in printed.stdout.splitlines()]
    assert lines == [arranged(typed(step.words)) for step in make.steps(Path("work"))]


def test_its_pictures_are_there():
    pictures = re.findall(r"\]\((img/[^)]+)\)", TEXT)
    assert len(pictures) == 6
    for name in pictures:
        assert (PACK / "docs" / name).is_file(), name
