"""Another pack of the public pack's node ids, beside ours."""

import pytest
import requests

from demo.server import PACK_NAME, ComfyServer

PUBLIC_PACK = """
class Loader:
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}
    RETURN_TYPES = ("HYPER_LORA",)
    FUNCTION = "run"
    CATEGORY = "HyperLoRA"
    def run(self):
        raise RuntimeError("the public pack")

NODE_CLASS_MAPPINGS = {"HyperLoRAUniLoader": Loader, "HyperLoRALoader": Loader}
"""


@pytest.fixture(scope="module", params=["aaa_first", pytest.param("zzz_last", marks=pytest.mark.slow)])
def beside(request, models, tmp_path_factory):
    """A server with another pack of those ids beside ours."""
    base = tmp_path_factory.mktemp("beside")
    pack = base / "custom_nodes" / request.param
    pack.mkdir(parents=True)
    (pack / "__init__.py").write_text(PUBLIC_PACK)
    with ComfyServer(base, models) as server:
        yield server, pack


def test_the_public_pack_beside_ours_is_said(beside):
    server, pack = beside
    (notice,) = requests.get(f"{server.url}/hyperlora/about", timeout=30).json()["notices"]
    theirs = server.object_info("HyperLoRAUniLoader")["HyperLoRAUniLoader"]["python_module"].endswith(pack.name)
    answers = f"{pack.name} answers to 2 of the 11" if theirs else f"{PACK_NAME} answers to the 11"
    assert f"Two packs have the HyperLoRA nodes of the public pack: {answers} node ids. Remove {pack}: " in notice
    assert server.log.read_text().count(notice) == 1


def test_alone_there_is_no_notice(server):
    assert requests.get(f"{server.url}/hyperlora/about", timeout=30).json()["notices"] == []
    assert "Two packs have" not in server.log.read_text()
