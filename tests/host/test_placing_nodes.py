"""Several people in one pass, schedules and run-time application, on the real server."""

import io

import numpy as np
import pytest
from PIL import Image

from demo import workflows
from tests.host.conftest import failure
from tests.host.test_identity_nodes import difference, node


@pytest.fixture
def alone(small):
    """One kept person, with widgets of Apply and Generate."""

    def make(id_weight: float = 0.8, **apply) -> workflows.Workflow:
        return small("identity_load", HyperLoRAApply=apply, HyperLoRAGenerate={"id_weight": id_weight})

    return make


def weigh(workflow: workflows.Workflow, *weights: float) -> workflows.Workflow:
    """Tell the people apart, who are one demo person: each at a weight of their own."""
    for number, weight in zip(workflows.nodes(workflow, "HyperLoRAGenerate"), weights, strict=True):
        workflow[number]["inputs"]["id_weight"] = weight
    return workflow


def pictures(server, workflow) -> list[np.ndarray]:
    """All pictures that a run saved."""
    saved = server.run(workflow).outputs[workflows.node(workflow, "SaveImage")]["images"]
    return [np.asarray(Image.open(io.BytesIO(server.view(image))).convert("RGB")) for image in saved]


def halves(workflow: workflows.Workflow, size: int = 128) -> workflows.Workflow:
    """The masks at the picture's size."""
    whole, half = workflows.nodes(workflow, "SolidMask")
    workflow[whole]["inputs"] |= {"width": size, "height": size}
    workflow[half]["inputs"] |= {"width": size // 2, "height": size}
    return workflow


def test_run_time_draws_what_patching_draws(alone, picture):
    patched, plain = picture(alone(6.0)), picture(alone(0.0))
    assert difference(picture(alone(6.0, application="run-time")), patched) <= 1
    assert difference(patched, plain) > 8


def test_each_picture_of_a_batch_is_its_persons(small, alone, server, picture):
    workflow = weigh(small("people_batch"), 6.0, -6.0)
    first, second = pictures(server, workflow)
    assert difference(first, picture(alone(6.0))) <= 1
    assert difference(second, picture(alone(-6.0))) > 8  # its noise is another


def test_people_in_regions_and_for_prompts(small, server, picture):
    for name in ("people_regions", "people_prompts"):
        both, swapped = (picture(weigh(halves(small(name)), *weights)) for weights in ((6.0, -6.0), (-6.0, 6.0)))
        assert difference(both, swapped) > 8


def test_a_schedule_acts(small, alone, picture):
    def scheduled(**widgets) -> np.ndarray:
        return picture(small("schedule", HyperLoRASchedule=widgets, HyperLoRAGenerate={"id_weight": 6.0}))

    always, never = picture(alone(6.0)), picture(alone(0.0))
    assert difference(scheduled(curve="constant"), always) <= 1
    assert difference(scheduled(curve="points", points="0: 0, 1: 0"), never) == 0
    assert difference(scheduled(curve="fall"), always) > 1


def test_a_hook_is_what_run_time_is(small, alone, picture):
    workflow = alone(6.0)
    apply, sampler = (workflows.node(workflow, kind) for kind in ("HyperLoRAApply", "KSampler"))
    lora = workflow[apply]["inputs"]["lora"]
    workflow["hook"] = node("HyperLoRACreateHook", lora=lora, strength=1.0)
    inputs = workflow[sampler]["inputs"]
    inputs["model"] = workflow[apply]["inputs"]["model"]
    del workflow[apply]
    for side in ("positive", "negative"):
        workflow[side] = node(
            "ConditioningSetProperties",
            cond_NEW=inputs[side],
            strength=1.0,
            set_cond_area="default",
            hooks=["hook", 0],
        )
        inputs[side] = [side, 0]
    assert difference(picture(workflow), picture(alone(6.0, application="run-time"))) <= 1


def test_a_saved_lora_has_the_schedules_mean(small, alone, server, picture):
    workflow = alone(6.0)
    lora = workflow[workflows.node(workflow, "HyperLoRAApply")]["inputs"]["lora"]
    workflow["s"] = node("HyperLoRASchedule", curve="rise", start_percent=0.0, end_percent=1.0, points="")
    workflow["save"] = node("HyperLoRASave", lora=lora, filename_prefix="people/baked", dtype="fp32", schedule=["s", 0])
    server.run(workflow)
    saved = small("saved_lora", LoraLoaderModelOnly={"lora_name": "people/baked_00001_.safetensors"})
    loaded = picture(saved)
    assert difference(loaded, picture(alone(3.0))) <= 1 < difference(loaded, picture(alone(6.0)))


def test_what_does_not_go_together_is_said(small, server):
    regions = halves(small("people_regions"))
    apply = workflows.node(regions, "HyperLoRAApplyRegions")
    regions[apply]["inputs"]["masks.mask2"] = regions[apply]["inputs"]["masks.mask0"]
    assert failure(server, regions).message == "there are 3 masks for 2 people: each person needs one"

    empty = halves(small("people_prompts"))
    whole = workflows.nodes(empty, "SolidMask")[0]
    for number in workflows.nodes(empty, "HyperLoRAPersonForPrompt"):
        empty[number]["inputs"]["mask"] = [whole, 0]
    assert failure(server, empty).message.startswith("the mask is empty: nothing of this person would be drawn")

    batch = small("people_batch", HyperLoRAApplyPerItem={"fewer_people": "error"}, EmptyLatentImage={"batch_size": 3})
    error = failure(server, batch)
    assert error.message == "there are 2 identities for a batch of 3 pictures: add identities, or let them repeat"
    batch = small("people_batch", EmptyLatentImage={"batch_size": 1})
    assert "2 identities for a batch of 1 pictures: make the batch as large" in failure(server, batch).message

    scheduled = small("schedule", HyperLoRAApply={"application": "patch"})
    assert failure(server, scheduled).message.startswith("patched weights cannot follow a schedule: set 'application'")
    wrong = small("schedule", HyperLoRASchedule={"curve": "constant", "start_percent": 0.7, "end_percent": 0.2})
    assert "the schedule starts at 0.7 and ends at 0.2" in failure(server, wrong).message


def test_run_time_takes_our_loras_alone(small, server):
    workflow = small("saved_lora")
    loader, sampler = (workflows.node(workflow, kind) for kind in ("LoraLoaderModelOnly", "KSampler"))
    model = workflow[loader]["inputs"]["model"]
    del workflow[loader]
    workflow["apply"] = node("HyperLoRAApply", model=model, lora=["foreign", 0], strength=1.0, application="run-time")
    workflow["foreign"] = node("TestForeignLora")
    workflow[sampler]["inputs"]["model"] = ["apply", 0]
    assert "this LoRA was not made by HyperLoRA" in failure(server, workflow).message


@pytest.mark.parametrize(
    "name", ["portrait_controlnet_lora", pytest.param("keypoints_controlnet", marks=pytest.mark.slow)]
)
def test_run_time_goes_with_a_real_controlnet_and_another_lora(small, picture, name):
    kind = "HyperLoRAPortrait" if name == "portrait_controlnet_lora" else "HyperLoRAApply"
    weight = {"HyperLoRAPortrait": {"id_weight": 6.0}, "HyperLoRAGenerate": {"id_weight": 6.0}}

    def drawn(application: str) -> np.ndarray:
        values = {**weight, kind: {**weight.get(kind, {}), "application": application}}
        return picture(small(name, **values))

    assert difference(drawn("run-time"), drawn("patch")) <= 1
