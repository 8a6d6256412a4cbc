"""What the README tells people to type, as far as it needs a server."""

import json
import re

from PIL import Image

from demo.server import PACK

BLOCKS = re.findall(r"```python\n(.+?)```", (PACK / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_client_of_the_readme_draws_a_picture(server, small, photos, tmp_path, monkeypatch):
    (block,) = [block for block in BLOCKS if "ComfyClient(" in block]
    address = "http://127.0.0.1:8188"
    assert address in block
    folder = tmp_path / "example_workflows" / "api"
    folder.mkdir(parents=True)
    (folder / "portrait_simple.json").write_text(json.dumps(small("portrait_simple")))
    Image.open(photos["obama"]).save(tmp_path / "me.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(block.replace(address, server.url), "README.md", "exec"), {})
    (drawn,) = tmp_path.glob("*.png")
    assert Image.open(drawn).size == (128, 128)
