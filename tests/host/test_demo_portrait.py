"""``make portrait``: its files with the demo's models, and its message where it cannot make them."""

import logging
import os
import re
import resource
import subprocess
import sys

import pytest
from PIL import Image

from demo import portrait
from demo.cache import SetupError, cache_dir
from demo.running import in_plain_words
from demo.server import PACK
from demo.trained import folders
from hyperlora_core import LoRA


@pytest.fixture
def make_portrait(caplog, tmp_path):
    """Run ``make portrait`` with variables; return the exit code and the log."""

    def run(**environment: object) -> tuple[int, str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "demo"):
            variables = {name: str(value) for name, value in ({"OUT": tmp_path / "out"} | environment).items()}
            code = in_plain_words(lambda: portrait.run(portrait.settings(variables)))
        return code, caplog.text

    return run


def test_a_drawn_persons_portraits_lie_beside_the_photo(make_portrait, tmp_path):
    code, text = make_portrait()
    assert code == 0, text
    scores = [float(score) for score in re.findall(r"portrait  .+  likeness (-?[\d.]+)", text)]
    assert len(scores) == 3 and max(scores) > 0.4, "with a photo that was not given; two strangers have .39 on average"
    (sheet,) = (tmp_path / "out").glob("sheet_*.png")
    assert str(sheet) in text and Image.open(sheet).width > 4 * 384
    (file,) = (tmp_path / "out" / "loras").glob("*.safetensors")
    assert str(file) in text and LoRA.load(file).norm > 0
    assert "a prompt" not in text and len(list((tmp_path / "out").glob("*.png"))) == 4


@pytest.mark.slow
def test_of_a_real_photo_the_drawn_person_who_comes_nearest(make_portrait, photos, tmp_path):
    code, text = make_portrait(PHOTO=photos["obama"])
    assert code == 0, text
    assert "MODELS=/path/to/ComfyUI/models" in text and (tmp_path / "out" / "obama_drawn.png").exists()
    (sheet,) = (tmp_path / "out").glob("sheet_*.png")
    assert Image.open(sheet).width > 5 * 384


def test_a_photo_that_is_none_is_told_before_anything_starts(make_portrait, tmp_path):
    (tmp_path / "text.jpg").write_text("no photo")
    Image.new("RGB", (300, 300), "grey").save(tmp_path / "grey.png")
    for name, sentence in (
        ("nothing.jpg", "nothing.jpg"),
        ("text.jpg", "no picture"),
        ("grey.png", "no face was found"),
    ):
        code, text = make_portrait(PHOTO=tmp_path / name)
        assert code == 1 and sentence in text and "Traceback" not in text and "Starting" not in text.split(sentence)[0]


def test_models_that_are_not_there_are_named(make_portrait, tmp_path):
    code, text = make_portrait(MODELS=tmp_path / "nowhere")
    assert code == 1 and "which is no folder: give ComfyUI's models folder" in text
    code, text = make_portrait(CHECKPOINT="mine.safetensors")
    assert code == 1 and "give that too, as MODELS=" in text
    code, text = make_portrait(MODELS=folders.models(), CHECKPOINT=folders.CHECKPOINT)
    assert code == 1 and "sdxl_hyper_id_lora_v1_fidelity is not in the models' hyper_lora folder" in text
    assert f"Found there: {folders.HYPER_LORA}" in text and "HYPERLORA=" in text


def test_a_place_that_cannot_be_written_is_told(make_portrait, tmp_path):
    (tmp_path / "file").touch()
    code, text = make_portrait(OUT=tmp_path / "file" / "out")
    assert code == 1 and "file" in text and "Traceback" not in text


def test_a_disk_without_room_is_told_and_left_as_it_was(tmp_path):
    for entry in cache_dir().iterdir():
        if not entry.name.startswith(("drawn-base", ".")):
            (tmp_path / entry.name).symlink_to(entry)
    before = sorted(path.name for path in tmp_path.iterdir())
    code = "from demo.trained import folders\nfolders.built()"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HYPERLORA_CACHE": str(tmp_path)},
        cwd=PACK,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**26, 2**26)),
        check=False,
    )
    last_line = result.stderr.strip().splitlines()[-1]
    assert (
        last_line.startswith(f"{SetupError.__module__}.SetupError: ")
        and "GB free there" in last_line
        and "Make room" in last_line
    )
    assert [name for name in sorted(path.name for path in tmp_path.iterdir()) if "drawn-base" not in name] == before
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and "drawn-base" in path.name]
