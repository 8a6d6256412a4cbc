"""The report in a real browser, on a desk and on a phone, without a network."""

import pytest

from hyperlora_core.data import report_page
from hyperlora_core.data.checks import REASONS
from hyperlora_core.data.pictures import thumbnail
from hyperlora_core.data.report import EDGES, Gathered
from hyperlora_core.data.shards import DatasetInfo
from hyperlora_core.files.encoders import Encoder
from hyperlora_core.files.photos import open_photo
from tests.support.pages import look


@pytest.fixture(scope="module")
def page_file(photos, tmp_path_factory):
    """Of a set with every reason, long licences, many people and names that try to be HTML."""
    import base64

    import numpy as np

    numbers = np.random.default_rng(0)
    picture = base64.b64encode(thumbnail(open_photo(photos["obama"]))).decode()
    counts = {reason: int(numbers.integers(1, 3_000_000)) for reason in ("", *REASONS)}
    licences = {"https://creativecommons.org/licenses/by-nc-sa/4.0/" + "x" * 90: 3, "<script>alert(1)</script>": 2}
    gathered = Gathered(
        counts=counts,
        licences=licences | {f"licence {number}": 1 for number in range(40)},
        captioned=7,
        people={photos: 100 // photos for photos in range(1, 60)},
        measures={name: numbers.integers(0, 9000, (2, len(edges) - 1)) for name, edges in EDGES.items()},
        near_cosines=numbers.integers(0, 99, 40),
        same_person_cosines=numbers.integers(0, 99, 40),
        other_cosines=numbers.integers(0, 99, 40),
        thumbs={reason: [picture] * 48 for reason in counts},
    )
    settings = {"sources": ["/a/very/long/path" * 12], "limits": {"min_face": 128}, "duplicates": {"cosine": 0.9}}
    path = tmp_path_factory.mktemp("report") / report_page.FILE
    report_page.write(path, gathered, DatasetInfo(Encoder("<b>embedder", "ab" * 32), "blip2", settings))
    return path


@pytest.mark.long
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_asks_for_nothing(page_file, width):
    seen = look(page_file, width)
    assert seen.overflow <= 0 and seen.asked == [] and seen.said == [] and seen.outside == 0
    assert len(seen.widths) == seen.images == 48 * (1 + len(REASONS)) and min(seen.widths) > 50
    assert all(reason in seen.text for reason in REASONS) and "<script>alert(1)</script>" in seen.text
