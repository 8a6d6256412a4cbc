"""HyperLoRA Score on the real server: its numbers are the evaluation's."""

import pytest
import torch
from PIL import Image

from demo.server import ExecutionError
from hyperlora_core import open_photo
from hyperlora_core.evaluation.clip_scores import ClipScorer
from hyperlora_core.evaluation.face_scores import FaceJudge, IRNetwork
from hyperlora_core.evaluation.scoring import Describer, score
from hyperlora_core.faces import FaceAnalyzer
from tests.evaluation.towers import clip_folder

PROMPT = "a man in a white shirt"


@pytest.fixture(scope="module")
def tower(server):
    return clip_folder(server.base / "models" / "open_clip" / "tower")


def run(server, photos, scored, without=None, **more):
    """Run the node on photos; return the report on the node, and the three lists of its outputs."""
    nodes, values = {}, dict(more)

    def load(name):
        number = str(len(nodes) + 10)
        nodes[number] = {"class_type": "LoadImage", "inputs": {"image": server.upload(photos[name])}}
        return [number, 0]

    for slot in [slot for slot in values if slot.startswith(("photos.", "held_out."))]:
        values[slot] = load(values[slot])

    def batch(names):
        links = [load(name) for name in names]
        if len(links) == 1:
            return links[0]
        number = str(len(nodes) + 10)
        inputs = {f"images.image{place}": link for place, link in enumerate(links)}
        nodes[number] = {"class_type": "BatchImagesNode", "inputs": inputs}
        return [number, 0]

    values["images"] = batch([scored] if isinstance(scored, str) else scored)
    if without:
        values["without"] = batch([without] if isinstance(without, str) else without)
    nodes["1"] = {
        "class_type": "HyperLoRAScore",
        "inputs": {"prompt": "", "clip": "auto", "face_model": "auto", **values},
    }
    for slot in (1, 2, 3):
        nodes[f"shown {slot}"] = {"class_type": "PreviewAny", "inputs": {"source": ["1", slot]}}
    outputs = server.run(nodes).outputs
    return outputs["1"]["text"][0], [[float(text) for text in outputs[f"shown {slot}"]["text"]] for slot in (1, 2, 3)]


def test_its_numbers_are_the_evaluations(server, photos, face_pack, tower):
    inputs = {"photos.photo0": "obama", "photos.photo1": "obama3", "held_out.other0": "biden", "prompt": PROMPT}
    report, lists = run(server, photos, "obama2", "astronaut", **inputs)
    analyzer = FaceAnalyzer.load(face_pack)
    describer = Describer(ClipScorer.load(tower), FaceJudge.load(analyzer, None))
    features = {name: describer.picture(open_photo(path)) for name, path in photos.items() if name != "group"}
    expected = score(
        features["obama2"],
        [features["obama"], features["obama3"]],
        [features["biden"]],
        features["astronaut"],
        describer.text(PROMPT),
    )
    first_line = report.splitlines()[0]
    assert first_line.startswith("picture 1: ")
    metrics = {name: float(value) for name, _, value in (part.rpartition(" ") for part in first_line[11:].split(", "))}
    names = ("id_sim", "held_out", "copy_paste", "clip_i", "clip_i_edit", "clip_t")
    titles = ("ID Sim", "held out", "copy-paste", "CLIP-I", "editability", "CLIP-T")
    assert metrics == pytest.approx({t: getattr(expected, n) for n, t in zip(names, titles, strict=True)}, abs=0.01)
    assert metrics["ID Sim"] > 0.5 and "CLIP: tower (" in report and "ID Sim is by" in report
    expected_outputs = [metrics[title] for title in ("ID Sim", "CLIP-I", "CLIP-T")]
    assert [len(numbers) for numbers in lists] == [1, 1, 1]
    assert [numbers[0] for numbers in lists] == pytest.approx(expected_outputs, abs=0.001)


def test_a_batch_is_scored_picture_by_picture(server, photos, tower):
    blank = server.base / "nobody.png"
    Image.new("RGB", (400, 500), "gray").save(blank)
    inputs = {"photos.photo0": "obama"}
    report, (id_sim, clip_i, clip_t) = run(server, {**photos, "nobody": blank}, ["obama2", "biden", "nobody"], **inputs)
    assert id_sim[0] > 0.5 > id_sim[1]
    assert id_sim[2] == 0 and len(set(clip_i)) == 3 and clip_t == [-1, -1, -1]
    lines = report.splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == ["picture 1", "picture 2", "picture 3", "mean"]
    assert float(lines[3].split("ID Sim ")[1].partition(",")[0]) == pytest.approx(sum(id_sim) / 3, abs=0.001)
    with pytest.raises(ExecutionError, match="2 pictures and 1 without the person"):
        run(server, photos, ["obama2", "biden"], "astronaut", **inputs)


def test_another_judge_of_faces(server, photos, tower, face_pack):
    """An untrained network, chosen by its file's name."""
    torch.manual_seed(0)
    folder = server.base / "models" / "face_embedders"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(IRNetwork((3, 4, 14, 3), affine=True).state_dict(), folder / "random_ir50.pth")
    inputs = {"photos.photo0": "obama"}
    own, _ = run(server, photos, "obama2", **inputs)
    report, (id_sim, _, _) = run(server, photos, "obama2", id_model="random_ir50.pth", **inputs)
    judge = FaceJudge.load(FaceAnalyzer.load(face_pack), folder / "random_ir50.pth")
    pictures = [open_photo(photos[name]) for name in ("obama", "obama2")]
    first, second = (judge.embedding(picture, judge.faces(picture)[0]) for picture in pictures)
    assert id_sim[0] == pytest.approx(float(first @ second), abs=0.01) and own != report
    assert "ID Sim is by face_embedders/random_ir50.pth" in report and "flatters" in own and "flatters" not in report


def test_what_cannot_be_scored_is_said(server, photos, tower):
    for more, message in (
        ({}, "there is nothing to score by: connect photos or pictures without, or give the prompt"),
        ({"prompt": "a", "clip": "gone"}, "Value not in list"),
    ):
        with pytest.raises(Exception, match=message):
            run(server, photos, "obama", **more)
    with pytest.raises(ExecutionError, match="no face was found on held-out photo 1 of the person"):
        blank = server.base / "blank.png"
        Image.new("RGB", (80, 80), "gray").save(blank)
        run(server, {**photos, "blank": blank}, "obama", **{"photos.photo0": "obama", "held_out.other0": "blank"})
