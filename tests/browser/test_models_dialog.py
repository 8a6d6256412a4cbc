"""The dialog of models, over a server that speaks the hub's protocol."""

from collections.abc import Iterator

import pytest
import requests
import torch

from demo.server import ComfyServer
from hyperlora_core.files.encoders import UNKNOWN
from tests.support import hub as hubs
from tests.support import models as demo
from tests.support.browser import FrontEnd, eventually, front_end

FOLDER = "sdxl_hyper_id_lora_v1_fidelity"
OPEN = "() => window.app.extensionManager.command.execute('HyperLoRA.Models')"


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[hubs.Hub]:
    folder = tmp_path_factory.mktemp("hub") / FOLDER
    demo.make_hyper_lora(folder, torch.Generator().manual_seed(5), demo.Shape(base=False), UNKNOWN)
    with hubs.hub(hubs.folder(folder, "bytedance-research/HyperLoRA")) as served:
        yield served


@pytest.fixture(scope="module")
def empty_server(hub, tmp_path_factory) -> Iterator[ComfyServer]:
    """A ComfyUI without any model, whose hub is ours."""
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    with ComfyServer(tmp_path_factory.mktemp("comfyui"), environment=environment) as server:
        yield server


@pytest.fixture
def page(empty_server, browser) -> Iterator[FrontEnd]:
    with front_end(empty_server, browser=browser) as page:
        yield page


def section(page, name: str):
    return page.page.locator(f".hyperlora-dialog section[data-model={name}]")


def test_models_are_listed_accepted_downloaded_stopped_and_taken_up(page, hub, empty_server, tmp_path):
    place = empty_server.base / "models" / "hyper_lora" / FOLDER
    page.page.evaluate(OPEN)
    fidelity = section(page, "fidelity")
    fidelity.get_by_text("hyper_lora_modules.safetensors").wait_for(timeout=10_000)
    assert page.page.locator(".hyperlora-dialog section").count() == 5
    assert "Looked for in: " in fidelity.inner_text() and str(empty_server.base) in fidelity.inner_text()
    begin = fidelity.get_by_role("button", name="Download")
    assert begin.is_disabled() and "CC BY-NC 4.0" in fidelity.inner_text()
    page.page.screenshot(path=str(tmp_path / "missing.png"))

    hub.pause = 0.02
    fidelity.get_by_role("checkbox").check()
    begin.click()
    fidelity.get_by_role("progressbar").wait_for(timeout=20_000)
    eventually(lambda: list(place.glob("hyper_lora_modules.safetensors.*.part")))
    page.page.screenshot(path=str(tmp_path / "downloading.png"))
    fidelity.get_by_role("button", name="Stop").click()
    fidelity.get_by_text("the download was stopped").wait_for(timeout=60_000)
    assert not (place / "hyper_lora_modules.safetensors").exists()

    hub.pause, hub.spoils = 0.0, True
    fidelity.get_by_role("checkbox").check()
    fidelity.get_by_role("button", name="Download").click()
    fidelity.get_by_text("did not arrive whole").wait_for(timeout=60_000)

    hub.spoils = False
    fidelity.get_by_role("checkbox").check()
    fidelity.get_by_role("button", name="Download").click()
    fidelity.get_by_text(f"✓ {place}").wait_for(timeout=60_000)
    page.page.screenshot(path=str(tmp_path / "there.png"))
    page.page.get_by_role("button", name="Close").last.click()
    models = empty_server.object_info("HyperLoRALoadModel")["HyperLoRALoadModel"]["input"]["required"]["model"]
    assert FOLDER in models[1]["options"]
    assert page.errors == []


def test_the_server_itself_asks_for_the_licence_and_for_the_origin(empty_server, hub):
    url, requested = f"{empty_server.url}/hyperlora/download", len(hub.requests)
    answer = requests.post(url, json={"name": "clip"}, timeout=30)
    assert answer.status_code == 400 and "under the licence MIT" in answer.json()["error"]
    answer = requests.post(url, json={"name": "clip", "accept_licence": "yes"}, timeout=30)
    assert answer.status_code == 400
    answer = requests.post(url, json={"name": "sdxl", "accept_licence": True}, timeout=30)
    assert answer.status_code == 400 and "there is no download 'sdxl'" in answer.json()["error"]
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        body = {"name": "clip", "accept_licence": True}
        assert requests.post(url, json=body, headers=headers, timeout=30).status_code == 403
    assert requests.post(url, data="{}", timeout=30).status_code == 415
    assert len(hub.requests) == requested
