"""Downloads, by the command, from a server that speaks the hub's protocol."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hyperlora_core.files.downloads import CATALOGUE, find_bundle
from hyperlora_core.files.encoders import UNKNOWN
from hyperlora_core.network.checkpoint import read_checkpoint
from tests.support import hub as hubs
from tests.support import models as demo

REPO = "bytedance-research/HyperLoRA"
FOLDER = "sdxl_hyper_id_lora_v1_fidelity"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A small HyperLoRA under the released one's name."""
    folder = tmp_path_factory.mktemp("hub") / FOLDER
    demo.make_hyper_lora(folder, torch.Generator().manual_seed(5), demo.Shape(base=False), UNKNOWN)
    return hubs.folder(folder, REPO)


@pytest.fixture
def hub(files) -> Iterator[hubs.Hub]:
    with hubs.hub(files) as served:
        yield served


@pytest.fixture
def folder(tmp_path) -> Path:
    """A ``models`` folder."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def command(hub: hubs.Hub, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    line = [sys.executable, "-m", "hyperlora_core.cli", "download", *arguments, "--models", str(folder)]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(hub: hubs.Hub, folder: Path, *arguments: str) -> tuple[int, str]:
    process = command(hub, folder, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def whole(folder: Path, files: dict[str, bytes]) -> bool:
    place = folder / "hyper_lora" / FOLDER
    return {path.name: path.read_bytes() for path in place.iterdir()} == {
        name.rpartition("/")[2]: content for name, content in files.items()
    }


def test_a_bundle_is_downloaded_whole_and_only_once(hub, folder, files):
    code, output = run(hub, folder, "fidelity", "--accept-licences")
    assert code == 0, output
    assert whole(folder, files)
    read_checkpoint(folder / "hyper_lora" / FOLDER)
    requests = len(hub.requests)
    assert run(hub, folder, "fidelity") == (0, "fidelity: there\n")  # no licence is asked for what is there
    assert len(hub.requests) == requests


def test_nothing_is_downloaded_before_the_licence_is_accepted(hub, folder):
    code, output = run(hub, folder, "fidelity")
    assert code == 1 and "under the licence CC BY-NC 4.0" in output and "Accept it to download" in output
    assert hub.requests == [] and list(folder.rglob("*")) == []


def test_what_is_missing_is_listed_without_asking_the_hub(hub, folder):
    (folder / "clip_vision").mkdir()
    (folder / "clip_vision" / "clip-vit-large-patch14.safetensors").touch()
    code, output = run(hub, folder, "--list")
    assert code == 0 and hub.requests == []
    lines = output.splitlines()
    assert len(lines) == len(CATALOGUE)
    assert lines[0].startswith("fidelity (") and lines[0].endswith("hyper_lora_modules.safetensors")
    assert [line for line in lines if line.endswith(": there")] == ["clip (CLIP ViT-L/14): there"]


def test_a_broken_connection_is_taken_up_again(hub, folder, files):
    hub.breaks_after = 12 << 20  # the hub's package writes pieces of 10 MB
    code, output = run(hub, folder, "fidelity", "--accept-licences")
    assert code == 0, output
    assert whole(folder, files)
    assert any(byte_range for _, _, byte_range in hub.requests)


@pytest.mark.long
def test_a_killed_download_goes_on_where_it_was(hub, folder, files):
    hub.pause = 0.005
    process = command(hub, folder, "fidelity", "--accept-licences")
    place, deadline = folder / "hyper_lora" / FOLDER, time.monotonic() + 60
    while not any(part.stat().st_size > 1 << 18 for part in place.glob("hyper_lora_modules.safetensors.*.part")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (place / "hyper_lora_modules.safetensors").exists()
    (part,) = place.glob("*.part")
    have, hub.pause = part.stat().st_size, 0.0
    hub.requests.clear()
    code, output = run(hub, folder, "fidelity", "--accept-licences")
    assert code == 0, output
    assert whole(folder, files)
    ranges = [byte_range for method, _, byte_range in hub.requests if method == "GET"]
    assert ranges == [f"bytes={have}-"]


def test_what_arrives_changed_is_deleted_and_said(hub, folder):
    hub.spoils = True
    code, output = run(hub, folder, "fidelity", "--accept-licences")
    assert code == 1 and "id_projector.safetensors did not arrive whole: its sha256 is" in output
    assert [path.name for path in (folder / "hyper_lora" / FOLDER).iterdir()] == ["hyper_lora_modules.json"]


def test_another_file_than_is_known_is_not_downloaded(folder, files):
    file = find_bundle("clip").files[0]
    with hubs.hub({f"{file.repo}/{file.path}": b"somebody else's"}) as hub:
        code, output = run(hub, folder, "clip", "--accept-licences")
    assert code == 1 and "is another file than was expected" in output and file.sha256 in output
    assert {method for method, _, _ in hub.requests} == {"HEAD"}


def test_a_full_disk_is_said_and_what_came_is_kept(hub, folder, files):
    place = folder / "hyper_lora" / FOLDER
    place.mkdir(parents=True)
    hub.claims = 1 << 50
    code, output = run(hub, folder, "fidelity", "--accept-licences")
    assert code == 1 and "there is no room for" in output and "1073741888 MB are needed" in output
    assert list(place.iterdir()) == []

    hub.claims = 0
    etag = hubs.hashlib.sha256(files[f"{REPO}/{FOLDER}/id_projector.safetensors"]).hexdigest()
    (place / f"id_projector.safetensors.{etag[:12]}.part").symlink_to("/dev/full")
    code, output = run(hub, folder, "fidelity", "--accept-licences")
    assert (
        code == 1
        and "cannot be written ([Errno 28] No space left on device)" in output
        and "goes on from there" in output
    )
    assert (place / "hyper_lora_modules.json").is_file() and not (place / "id_projector.safetensors").exists()


def test_a_hub_without_the_file_and_no_hub_at_all_are_said(hub, folder):
    hub.files = {}
    code, output = run(hub, folder, "edit", "--accept-licences")
    assert code == 1 and "cannot be downloaded (404" in output
    hub.url = "http://127.0.0.1:9"
    code, output = run(hub, folder, "edit", "--accept-licences")
    assert code == 1 and "Look at the connection, and at HF_ENDPOINT" in output


def test_a_name_that_is_no_download_and_a_folder_that_is_none_are_said(hub, folder):
    assert (
        "there is no download 'sdxl'; there are fidelity, edit, clip, faces, clip-scores" in run(hub, folder, "sdxl")[1]
    )
    assert "is no folder: give the models folder" in run(hub, folder / "nowhere", "clip")[1]
