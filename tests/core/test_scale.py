"""What likeness means is known once: nodes, reports and help pages say the same of the same photos."""

import itertools
import re
from pathlib import Path

import pytest

from hyperlora_core.faces.photo_report import examine
from hyperlora_core.faces.scale import INSIGHTFACE
from hyperlora_core.identity.encoding import encode_id
from hyperlora_core.identity.mixing import without_outliers

PAGES = Path(__file__).parents[2] / "web" / "docs"


def test_limits_stand_in_order():
    assert -1 < INSIGHTFACE.different < INSIGHTFACE.same < INSIGHTFACE.usual < 1


def test_what_the_report_keeps_is_not_dropped(network, clip, references):
    """One photo is somebody else's; both say which, at the limit that both begin with."""
    for names in itertools.combinations(("obama", "obama2", "obama3", "biden"), 3):
        photos = [references[name] for name in names]
        identity, _ = encode_id(network, clip, photos)
        remaining = without_outliers(identity, INSIGHTFACE.same, lambda line: None)
        strangers = [quality.is_somebody_else for quality in examine(photos)]
        dropped = [sha256 not in remaining.photos for sha256 in identity.photos]
        assert dropped == strangers == [name == "biden" for name in names]


@pytest.mark.parametrize(
    ("page", "words", "number"),
    [
        ("Likeness", r"of one person mostly have ([\d.]+) and more", INSIGHTFACE.same),
        ("Likeness", r"more than ([\d.]+);", INSIGHTFACE.usual),
        ("Likeness", r"two people mostly have ([\d.]+) and less", INSIGHTFACE.different),
        ("MixPhotos", r"`least_agreement` ([\d.]+)\.\s", INSIGHTFACE.same),
        ("MixPhotos", r"lower `least_agreement` to ([\d.]+)", INSIGHTFACE.different),
        ("PhotoReport", r"below ([\d.]+) it looks like somebody else", INSIGHTFACE.same),
        ("SampleUntilAlike", r"\n`enough` ([\d.]+)", INSIGHTFACE.usual),
        ("Score", r"ID Sim near ([\d.]+)", INSIGHTFACE.usual),
    ],
)
def test_help_pages_say_the_same(page, words, number):
    (on_page,) = re.findall(words, (PAGES / f"HyperLoRA{page}.md").read_text())
    assert float(on_page) == number
