"""The pack's settings: ``web/settings.json``, and the values that the nodes read."""

import json
import logging
import sys

import pytest

from tools import locales, schemas

LISTED = {setting["id"]: setting for setting in locales.SETTINGS}


@pytest.fixture(scope="module")
def settings():
    """The module under test, of the pack as ComfyUI imports it."""
    schemas.node_classes()
    return sys.modules["hyperlora_pack.nodes.host.settings"]


@pytest.fixture
def saved(settings, tmp_path, monkeypatch):
    """Saves settings as ComfyUI does."""
    monkeypatch.setattr(settings.folder_paths, "get_user_directory", lambda: str(tmp_path))
    (tmp_path / "default").mkdir()

    def save(content: object) -> None:
        (tmp_path / "default" / "comfy.settings.json").write_text(json.dumps(content))

    return save


def test_each_setting_of_the_dialog_is_read_by_the_nodes_or_is_a_page(settings):
    ids = {value.id for value in vars(settings).values() if isinstance(value, settings.Setting)}
    assert ids == {key for key, setting in LISTED.items() if setting["type"] != "aboutPage"}


def test_the_dialog_offers_what_the_nodes_take(settings):
    for setting, choices in ((settings.FACE_ENGINE, settings.ENGINES), (settings.NO_FACE, settings.ON_NO_FACE)):
        assert LISTED[setting.id]["options"] == list(choices)
        assert setting.default == choices[0]


def test_a_setting_is_what_was_saved_or_its_default(settings, saved):
    assert settings.CACHE_MEGABYTES.value() == 512 and settings.NO_FACE.value() == "error"
    saved({"HyperLoRA.Cache.Size": 64, "HyperLoRA.Faces.OnNoFace": "skip", "HyperLoRA.Licences.Accepted": True})
    assert settings.CACHE_MEGABYTES.value() == 64 and settings.NO_FACE.value() == "skip"
    assert settings.FACE_ENGINE.value() == "auto" and settings.LICENCES_ACCEPTED.value() is True


@pytest.mark.parametrize("content", [{"HyperLoRA.Cache.Size": "a horse"}, {"HyperLoRA.Cache.Size": None}, [], 3])
def test_a_value_that_does_not_fit_is_named_in_the_log(settings, saved, caplog, content):
    saved(content)
    with caplog.at_level(logging.WARNING):
        assert settings.CACHE_MEGABYTES.value() == 512
    assert "The setting HyperLoRA.Cache.Size cannot be used" in caplog.text
