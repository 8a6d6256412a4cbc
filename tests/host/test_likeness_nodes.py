"""Pictures judged by likeness, and sampling until one is like enough, on the real server."""

import re

import pytest

from demo import workflows
from demo.server import Result
from tests.host.conftest import failure
from tests.support.models import IDENTITY


@pytest.fixture
def judging(uploaded):
    """A workflow that judges photos, as one batch, by a photo of the person; widgets of the node."""

    def make(*photos: str, by: tuple[str, ...] = ("obama",), **inputs) -> workflows.Workflow:
        workflow = {name: workflows.new("LoadImage", image=uploaded[name]) for name in {*photos, *by}}
        workflow["batch"] = workflows.new(
            "TestPhotos", **{f"photos.photo{i}": [name, 0] for i, name in enumerate(photos)}
        )
        photo_inputs = {f"photos.photo{i}": [name, 0] for i, name in enumerate(by)}
        widgets = {"order": "as they came", "least": -1.0, "most": 0, "face_model": "auto"} | inputs
        workflow["judge"] = workflows.new("HyperLoRALikeness", images=["batch", 0], **photo_inputs, **widgets)
        workflow["save"] = workflows.new("PreviewImage", images=["judge", 0])
        return workflow

    return make


def report(result: Result, number: str = "judge") -> list[str]:
    """The lines of the node's report."""
    return result.outputs[number]["text"][0].splitlines()


def test_pictures_are_judged_sorted_and_dropped(judging, server):
    workflow = judging("biden", "obama2", "obama", order="best first")
    result = server.run(workflow)
    *pictures, judge = report(result)
    scores = [float(line.partition(": ")[2]) for line in pictures]
    assert scores[0] < 0.4 < 0.5 < scores[1] < scores[2]
    assert judge.startswith("judged by antelopev2/glintr100.onnx (")
    assert len(result.outputs["save"]["images"]) == len(result.outputs["judge"]["images"]) == 3
    workflow["judge"]["inputs"]["least"] = 0.5
    assert len(server.run(workflow).outputs["save"]["images"]) == 2
    workflow["judge"]["inputs"]["most"] = 1
    assert len(server.run(workflow).outputs["save"]["images"]) == 1


def test_scores_come_as_numbers(judging, server):
    workflow = judging("biden", "obama2")
    workflow["best"] = workflows.new("PreviewAny", source=["judge", 1])
    workflow["all"] = workflows.new("PreviewAny", source=["judge", 2])
    result = server.run(workflow)
    best = float(result.outputs["best"]["text"][0])
    all_scores = [float(text) for text in result.outputs["all"]["text"]]
    assert best == max(all_scores) == all_scores[1] and len(all_scores) == 2


def test_an_identity_is_a_judge_too(judging, server):
    workflow = judging("biden", by=())
    workflow["who"] = workflows.new("HyperLoRALoadIdentity", identity_name=IDENTITY)
    workflow["judge"]["inputs"]["identity"] = ["who", 0]
    assert "by which this person was encoded too: that flatters" in report(server.run(workflow))[-1]


def test_what_cannot_be_judged_is_said(judging, server):
    assert "neither of identity and photos are connected" in failure(server, judging("biden", by=())).message
    with_both = judging("biden")
    with_both["who"] = workflows.new("HyperLoRALoadIdentity", identity_name=IDENTITY)
    with_both["judge"]["inputs"]["identity"] = ["who", 0]
    assert "both of identity and photos are connected" in failure(server, with_both).message
    strict = failure(server, judging("biden", least=0.9)).message
    assert re.match(r"none of the 1 pictures has a likeness of 0\.9: the best has -?0\.\d", strict)
    blank = judging("biden", by=("obama",))
    blank["judge"]["inputs"]["images"] = ["blank", 0]
    blank["blank"] = workflows.new("EmptyImage", width=256, height=256, batch_size=2, color=0)
    result = server.run(blank)
    assert report(result)[:2] == ["picture 1: no face", "picture 2: no face"]
    assert result.outputs["judge"]["remarks"] == ["no face was found on any picture"]
    by_blank = judging("biden", by=())
    by_blank["judge"]["inputs"]["photos.photo0"] = ["blank", 0]
    by_blank["blank"] = blank["blank"]
    assert "photo 1 of 2: no face was found" in failure(server, by_blank).message


@pytest.fixture
def searching(small, uploaded):
    """Sample until Alike with a VAE whose pictures are the given photos in turn."""

    def make(*photos: str, **inputs) -> workflows.Workflow:
        workflow = small("sample_until_alike")
        loop = workflow[workflows.node(workflow, "HyperLoRASampleUntilAlike")]["inputs"]
        for name in photos:
            workflow[name] = workflows.new("LoadImage", image=uploaded[name])
        workflow["vae"] = workflows.new(
            "TestPhotoVAE", **{f"photos.photo{i}": [name, 0] for i, name in enumerate(photos)}
        )
        workflow["obama"] = workflows.new("LoadImage", image=uploaded["obama"])
        del loop["identity"]
        loop |= {"vae": ["vae", 0], "photos.photo0": ["obama", 0], "steps": 1, "seeds": 6, **inputs}
        return workflow

    return make


def tries(result: Result, workflow: workflows.Workflow) -> list[str]:
    return report(result, workflows.node(workflow, "HyperLoRASampleUntilAlike"))[:-1]


def test_it_stops_at_the_first_picture_that_is_enough(searching, server):
    workflow = searching("biden", "obama2", "astronaut", enough=1.0)
    loop = workflows.node(workflow, "HyperLoRASampleUntilAlike")
    result = server.run(workflow)
    lines = tries(result, workflow)
    scores = [float(line.rpartition(": ")[2]) for line in lines]
    assert len(lines) == 6 and len(result.outputs[loop]["images"]) == 6
    assert result.outputs[loop]["remarks"] == [f"none of 6 pictures reached 1; the best has {max(scores):.3f}"]
    assert max(scores) > 0.5 > min(scores)
    workflow[loop]["inputs"]["enough"] = 0.5
    early = server.run(workflow)
    first_alike = next(number for number, score in enumerate(scores) if score >= 0.5)
    assert tries(early, workflow) == lines[: first_alike + 1]
    assert "remarks" not in early.outputs[loop]


def test_strengths_are_tried_with_each_seed_and_the_best_comes_out(searching, server):
    workflow = searching("biden", "obama2", "astronaut", enough=1.0, seeds=2, strengths="-6, 0.5 6", seed=7)
    loop = workflows.node(workflow, "HyperLoRASampleUntilAlike")
    for name, output in (("score", 2), ("seed", 3), ("strength", 4), ("scores", 7)):
        workflow[name] = workflows.new("PreviewAny", source=[loop, output])
    workflow["again"] = workflows.new("VAEDecode", samples=[loop, 0], vae=["vae", 0])
    workflow["judge"] = workflows.new(
        "HyperLoRALikeness",
        images=["again", 0],
        order="as they came",
        least=-1.0,
        most=0,
        face_model="auto",
        **{"photos.photo0": ["obama", 0]},
    )
    workflow["preview"] = workflows.new("PreviewImage", images=["judge", 0])
    result = server.run(workflow)
    lines = tries(result, workflow)
    starts = [f"seed {seed}, strength {strength}, picture 1" for seed in (7, 8) for strength in ("-6", "0.5", "6")]
    assert [line.partition(":")[0] for line in lines] == starts
    scores = [float(text) for text in result.outputs["scores"]["text"]]
    assert [f"{number:.3f}" for number in scores] == [line.rpartition(": ")[2] for line in lines]
    best = max(lines, key=lambda line: float(line.rpartition(": ")[2]))
    score, seed, strength = (result.outputs[name]["text"][0] for name in ("score", "seed", "strength"))
    assert best.startswith(f"seed {seed}, strength {float(strength):g}, ")
    assert best.endswith(f"{float(score):.3f}") and report(result)[0] == f"picture 1: {float(score):.3f}"


def test_every_picture_of_a_batch_takes_part(searching, server):
    workflow = searching("biden", "obama2", "astronaut", enough=1.0, seeds=1)
    latent = workflow[workflows.node(workflow, "EmptyLatentImage")]["inputs"]
    latent["batch_size"] = 3
    lines = tries(server.run(workflow), workflow)
    assert [line.partition(":")[0].rpartition(", ")[2] for line in lines] == ["picture 1", "picture 2", "picture 3"]


def test_no_face_at_the_end_of_the_loop_is_an_error(searching, small, server):
    workflow = searching("obama2", seeds=2)
    workflow["obama2"] = workflows.new("EmptyImage", width=256, height=256, batch_size=1, color=0)
    message = failure(server, workflow).message
    assert message.startswith("no face was found on any of the 2 pictures that were drawn, so none can be the best")


def test_strengths_without_a_lora_are_refused(searching, server):
    workflow = searching("obama2", strengths="1, 2")
    del workflow[workflows.node(workflow, "HyperLoRASampleUntilAlike")]["inputs"]["lora"]
    assert "no LoRA is connected whose they could be" in failure(server, workflow).message


def test_the_real_way_from_latent_to_judgement(small, server):
    """With the demo's own VAE, whose pictures of random models show no face."""
    message = failure(server, small("sample_until_alike", HyperLoRASampleUntilAlike={"steps": 1, "seeds": 1})).message
    assert message.startswith("no face was found on any of the 1 pictures")
