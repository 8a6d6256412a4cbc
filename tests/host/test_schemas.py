"""The server gives the editor the schemas and words that the tests read without a server."""

import json

import requests

from demo.server import PACK_NAME
from tools import locales, schemas


def without_lists_of_files(info: dict) -> dict:
    """A node's entry without the choices that depend on which files are there."""
    entry = json.loads(json.dumps(info))
    for group in entry["input"].values():
        for kind, *details in group.values():
            if kind == "COMBO":
                details[0].pop("options")
    return entry


def test_schemas_are_those_that_are_read_in_one_process(server):
    served = {name: info for name, info in server.object_info().items() if info["python_module"].endswith(PACK_NAME)}
    local = schemas.object_info()
    assert set(served) == set(local)
    for name, info in served.items():
        assert without_lists_of_files(info) == without_lists_of_files(local[name]), name


def test_words_are_served_in_every_language(server):
    served = requests.get(f"{server.url}/i18n", timeout=30).json()
    for language in locales.LANGUAGES:
        words = locales.words(language)
        node = served[language]["nodeDefs"]["HyperLoRADetectFaces"]
        assert node["display_name"] == words.get("HyperLoRA Detect Faces", "HyperLoRA Detect Faces")
        assert set(json.loads((locales.FOLDER / language / "settings.json").read_text())) <= set(
            served[language]["settings"]
        )
