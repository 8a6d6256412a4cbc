"""Installing the pack changes nothing that is there, in an environment as users of InstantID and PuLID have it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demo.cache import build_once
from hyperlora_core import FaceAnalyzer, open_photo
from tests.support.insightface_reference import least_cosine, reference

NEIGHBOURS = (
    "numpy==1.26.4",
    "onnxruntime-gpu==1.20.2",
    "opencv-contrib-python==4.11.0.86",
    "mediapipe==0.10.21",
    "insightface==0.7.3",
    "huggingface_hub==0.27.1",
    "pillow==10.4.0",
    "safetensors==0.4.5",
    "requests==2.32.3",
    "aiohttp==3.10.11",
)
"""An older set that other packs hold fast; of ComfyUI's own packages some that this one reads with."""

OWN = {"comfyui-hyperlora", "setuptools"}
"""What a trial of installing the command's package names beside torch's: itself, and torch's own wish."""


def run(*command: str | Path) -> str:
    process = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, (process.stdout + process.stderr)[-5000:]
    return process.stdout


def freeze(python: Path) -> set[str]:
    return set(run(python, "-m", "pip", "freeze").splitlines())


@pytest.fixture(scope="module")
def python() -> Path:
    """A Python with those packages; made once, for insightface 0.7.3 has to be compiled."""

    def build(folder: Path) -> None:
        run(sys.executable, "-m", "venv", folder / "env")
        inside = folder / "env" / "bin" / "python"
        run(inside, "-m", "pip", "install", "--quiet", "numpy==1.26.4", "cython", "setuptools<80", "wheel")
        run(inside, "-m", "pip", "install", "--quiet", "--no-build-isolation", *NEIGHBOURS)
        # of the OpenCV packages that were asked for, the last one that is installed is there
        run(inside, "-m", "pip", "uninstall", "--quiet", "-y", "opencv-python-headless", "opencv-python")
        run(inside, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", NEIGHBOURS[2])

    return build_once("neighbours-1", build) / "env" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_that_is_there_is_changed(python, request):
    root, before = request.config.rootpath, freeze(python)
    run(python, "-m", "pip", "install", "--quiet", "-r", root / "requirements.txt")
    after = freeze(python)
    assert before <= after
    added = {line.partition("==")[0].lower() for line in after - before}
    assert not added & {"insightface", "onnxruntime", "opencv-python", "opencv-python-headless", "numpy"}
    code = "import cv2, onnxruntime; cv2.ximgproc; print(onnxruntime.get_available_providers())"
    assert "CUDAExecutionProvider" in run(python, "-c", code)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_command_s_package_changes_nothing_either(python, request, tmp_path):
    """As a trial, for torch would come with it, which a ComfyUI has."""
    report = tmp_path / "report.json"
    run(python, "-m", "pip", "install", "--dry-run", "--quiet", "--report", report, request.config.rootpath)
    added = {package["metadata"]["name"].lower() for package in json.loads(report.read_text())["install"]}
    installed = {line.partition("==")[0].lower() for line in freeze(python)}
    assert "comfyui-hyperlora" in added and not (added - OWN) & installed


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_numbers_are_those_of_insightface_0_7_3_too(python, face_pack, photos, tmp_path):
    expected = reference(face_pack, photos, tmp_path / "insightface.npz", str(python))
    analyzer = FaceAnalyzer.load(face_pack, "torch")
    for name, path in photos.items():
        photo = open_photo(path)
        for place, face in enumerate(analyzer.detect(photo, embed=True)):
            theirs = {kind: expected[f"{name}.{kind}"][place] for kind in ("boxes", "landmarks", "id_embeds")}
            assert np.abs(face.box - theirs["boxes"]).max() < 0.1
            assert np.abs(face.landmarks - theirs["landmarks"]).max() < 0.1
            assert float(analyzer.id_embedding(photo, face) @ theirs["id_embeds"]) > least_cosine(theirs["landmarks"])
            with_their_landmarks = replace(face, landmarks=theirs["landmarks"])
            assert float(analyzer.id_embedding(photo, with_their_landmarks) @ theirs["id_embeds"]) > 0.9999
