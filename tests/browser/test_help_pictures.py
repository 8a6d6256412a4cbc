"""The pictures of the help pages: pictured again, they are of the nodes as they are."""

from pathlib import Path

import pytest
from PIL import Image

from tests.support.browser import front_end
from tools import help_pictures


@pytest.mark.slow
def test_pictures_are_of_the_nodes_as_they_are(server, browser, tmp_path):
    names = sorted(name for name in server.object_info() if name.startswith("HyperLoRA"))
    pictured = set()
    with front_end(server, help_pictures.SETTINGS, help_pictures.WINDOW, browser) as page:
        for name, picture in help_pictures.pictures(page, names, Path(tmp_path)):
            picture.save(tmp_path / f"{name}.png")
            committed = Image.open(help_pictures.FOLDER / f"{name}.webp")
            assert abs(picture.width - committed.width) < 8 and abs(picture.height - committed.height) < 8, (
                f"{name} has other widgets or slots by now: make help-pictures"
            )
            pictured.add(name)
        assert page.errors == []
    assert pictured == set(names)
