"""The pictures of the help pages: taken again, they are of the nodes as they are."""

from pathlib import Path

import pytest
from PIL import Image

from tests.support.browser import front_end
from tools import help_pictures


@pytest.mark.slow
def test_pictures_are_of_the_nodes_as_they_are(server, tmp_path):
    names = sorted(name for name in server.object_info() if name.startswith("HyperLoRA"))
    taken = set()
    with front_end(server, help_pictures.SETTINGS, help_pictures.WINDOW) as page:
        for name, picture in help_pictures.pictures(page, names, Path(tmp_path)):
            picture.save(tmp_path / f"{name}.png")
            kept = Image.open(help_pictures.FOLDER / f"{name}.webp")
            assert abs(picture.width - kept.width) < 8 and abs(picture.height - kept.height) < 8, (
                f"{name} has other widgets or slots by now: make help-pictures"
            )
            taken.add(name)
        assert page.errors == []
    assert taken == set(names)
