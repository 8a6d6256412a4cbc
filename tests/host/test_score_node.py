"""The node that scores, over the real server: its numbers are the evaluation's."""

import pytest

from demo.server import ExecutionError
from hyperlora_core import open_photo
from hyperlora_core.evaluation.clip_scores import ClipScorer
from hyperlora_core.evaluation.face_scores import FaceJudge
from hyperlora_core.evaluation.scoring import Describer, score
from hyperlora_core.faces import FaceAnalyzer
from tests.evaluation.towers import clip_folder

PROMPT = "a man in a white shirt"


@pytest.fixture(scope="module")
def tower(server):
    return clip_folder(server.base / "models" / "open_clip" / "tower")


def run(server, photos, scored, without=None, **more):
    """Score photos, by a workflow of LoadImage and the node; what it shows."""
    nodes, given = {}, dict(more)

    def load(name):
        number = str(len(nodes) + 10)
        nodes[number] = {"class_type": "LoadImage", "inputs": {"image": server.upload(photos[name])}}
        return [number, 0]

    for slot in [slot for slot in given if slot.startswith(("photos.", "held_out."))]:
        given[slot] = load(given[slot])
    given["images"] = load(scored)
    if without:
        given["without"] = load(without)
    nodes["1"] = {
        "class_type": "HyperLoRAScore",
        "inputs": {"prompt": "", "clip": "auto", "face_model": "auto", **given},
    }
    return server.run(nodes).outputs["1"]["text"][0]


def test_its_numbers_are_the_evaluations(server, photos, face_pack, tower):
    given = {"photos.photo0": "obama", "photos.photo1": "obama3", "held_out.other0": "biden", "prompt": PROMPT}
    report = run(server, photos, "obama2", "astronaut", **given)
    analyzer = FaceAnalyzer.load(face_pack)
    describer = Describer(ClipScorer.load(tower), FaceJudge.load(analyzer, None))
    seen = {name: describer.picture(open_photo(path)) for name, path in photos.items() if name != "group"}
    expected = score(
        seen["obama2"], [seen["obama"], seen["obama3"]], [seen["biden"]], seen["astronaut"], describer.text(PROMPT)
    )
    first = report.splitlines()[0]
    assert first.startswith("picture 1: ")
    told = {name: float(value) for name, _, value in (part.rpartition(" ") for part in first[11:].split(", "))}
    names = ("id_sim", "held_out", "copy_paste", "clip_i", "clip_i_edit", "clip_t")
    titles = ("ID Sim", "held out", "copy-paste", "CLIP-I", "editability", "CLIP-T")
    assert told == pytest.approx({t: getattr(expected, n) for n, t in zip(names, titles, strict=True)}, abs=0.01)
    assert told["ID Sim"] > 0.5 and "CLIP: tower (" in report and "ID Sim is by" in report


def test_what_cannot_be_scored_is_said(server, photos, tower):
    for more, message in (
        ({}, "there is nothing to score by: connect photos or pictures without, or give the prompt"),
        ({"prompt": "a", "clip": "gone"}, "Value not in list"),
    ):
        with pytest.raises(Exception, match=message):
            run(server, photos, "obama", **more)
    with pytest.raises(ExecutionError, match="no face was found on a photo of the person"):
        from PIL import Image

        blank = server.base / "blank.png"
        Image.new("RGB", (80, 80), "gray").save(blank)
        run(server, {**photos, "blank": blank}, "obama", **{"photos.photo0": "blank"})
