"""The shell blocks of a document, typed by a real shell in which the commands only note their words."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.documents.reading import Block

COMMANDS = ("hyperlora", "python", "make", "pip", "git", "accelerate", "cp", "cd")
"""What blocks may type; any other command fails."""

_NOTING = """
note() { "$PYTHON" -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@" >> "$NOTES"; }
python() { note python "$@"; if [ "$1" = -c ]; then echo printed-by-python; fi; }
"""
_PLAIN = "".join(f'{name}() {{ note {name} "$@"; }}\n' for name in COMMANDS if name != "python")


def words_of(blocks: Sequence[Block], folder: Path, **variables: str) -> list[list[str]]:
    """Type blocks one after the other, as a reader of the document does; the words of each command, in order.

    Args:
        blocks: of one document; what one defines, those after it have.
        folder: that files are written to.
        variables: of the shell.
    """
    notes = folder / "notes.jsonl"
    notes.touch()
    script = _NOTING + _PLAIN + "".join(block.text for block in blocks)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHON": sys.executable,
            "NOTES": str(notes),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{blocks[0].document}: {result.stderr}"
    return [json.loads(line) for line in notes.read_text().splitlines()]
