"""Files and names that docs/ARCHITECTURE.md and CONTRIBUTING.md send somebody to are there."""

import re

import pytest

import hyperlora_core
from demo.server import PACK
from tests.core.test_order import GROUND, PACKAGES
from tests.documents import reading

DOCUMENTS = ("docs/ARCHITECTURE.md", "CONTRIBUTING.md")
_EXAMPLES = {"<topic>": "portrait", "<id>": "HyperLoRAPortrait", "<language>": "zh", "<name>": "none"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_are_there(document):
    for span in reading.spans(document):
        path = span
        for placeholder, example in _EXAMPLES.items():
            path = path.replace(placeholder, example)
        if re.fullmatch(r"[\w./-]+\.(py|json|md|toml|jpg)", path):
            places = (PACK / path, PACK / "hyperlora_core" / path, PACK / "tests" / "host" / path)
            assert any(place.is_file() for place in places), f"{document}: `{span}`"


def test_names_in_the_core_are_there():
    """By their files' text: one of the doors needs ComfyUI to be imported."""
    dotted = [span for span in reading.spans("docs/ARCHITECTURE.md") if re.fullmatch(r"\w+(\.\w+)+", span)]
    dotted = [name for name in dotted if name.partition(".")[0] in PACKAGES and not name.endswith(".py")]
    assert len(dotted) > 5
    for name in dotted:
        parts, place = name.split("."), PACK / "hyperlora_core"
        while parts and (place / parts[0]).is_dir():
            place /= parts.pop(0)
        if parts:
            text = (place / f"{parts[0]}.py").read_text(encoding="utf-8")
            for part in parts[1:]:
                assert re.search(rf"^\s*(def |class )?{part}\b *[(:=]", text, re.MULTILINE), f"{part} of {name}"


def test_constants_in_brackets_are_in_their_files():
    text = reading.read("docs/ARCHITECTURE.md")
    pairs = re.findall(r"`([\w/]+\.py)` \(`(\w+)`\)", text)
    pairs += [(path, name) for name, path in re.findall(r"`(\w+)` in `([\w/]+\.py)`", text)]
    assert len(pairs) > 3
    for path, name in pairs:
        file = PACK / path if (PACK / path).is_file() else PACK / "hyperlora_core" / path
        assert re.search(rf"^(def |class )?{name}\b", file.read_text(encoding="utf-8"), re.MULTILINE), (
            f"{name} in {path}"
        )


def test_the_table_of_packages_is_the_order_that_is_tested():
    table = reading.read("docs/ARCHITECTURE.md").partition("| package | holds |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert set(names[: len(GROUND)]) == set(GROUND) and tuple(names[len(GROUND) :]) == PACKAGES


def test_the_changelog_knows_the_version():
    assert hyperlora_core.__version__ in reading.read("CHANGELOG.md")
