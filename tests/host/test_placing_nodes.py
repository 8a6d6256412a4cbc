"""Several people in one pass, schedules and run-time application, on the real server."""

import io

import numpy as np
import pytest
from PIL import Image

from demo import workflows
from tests.host.conftest import difference, failure


@pytest.fixture
def alone(small):
    """A workflow of one saved person, at an id_weight, with widgets of Apply."""

    def make(id_weight: float = 0.8, **apply) -> workflows.Workflow:
        return small("identity_load", HyperLoRAApply=apply, HyperLoRAGenerate={"id_weight": id_weight})

    return make


def weigh(workflow: workflows.Workflow, *weights: float) -> workflows.Workflow:
    """Give each person another id_weight, to tell them apart: all are the same demo person."""
    for number, weight in zip(workflows.nodes(workflow, "HyperLoRAGenerate"), weights, strict=True):
        workflow[number]["inputs"]["id_weight"] = weight
    return workflow


def pictures(server, workflow) -> list[np.ndarray]:
    """All pictures that a run saved."""
    saved = server.run(workflow).outputs[workflows.node(workflow, "SaveImage")]["images"]
    return [np.asarray(Image.open(io.BytesIO(server.view(image))).convert("RGB")) for image in saved]


def halves(workflow: workflows.Workflow, size: int = 128) -> workflows.Workflow:
    """The workflow with its masks at the picture's size."""
    full, half = workflows.nodes(workflow, "SolidMask")
    workflow[full]["inputs"] |= {"width": size, "height": size}
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


def between(workflow: workflows.Workflow, socket: str, class_type: str, source: str, **widgets) -> workflows.Workflow:
    """Put a node between the sampler and one of its inputs."""
    inputs = workflow[workflows.node(workflow, "KSampler")]["inputs"]
    workflow[class_type] = workflows.new(class_type, **{source: inputs[socket]}, **widgets)
    inputs[socket] = [class_type, 0]
    return workflow


def test_context_windows_and_cut_batches_keep_who_is_who(small, server):
    def four() -> workflows.Workflow:
        return weigh(small("people_batch", EmptyLatentImage={"batch_size": 4}), 6.0, -6.0)

    full = pictures(server, four())
    windows = {
        "context_length": 2,
        "context_overlap": 1,
        "context_schedule": "standard_static",
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": "pyramid",
        "dim": 0,
        "freenoise": False,
        "cond_retain_index_list": "",
        "split_conds_to_windows": False,
        "latent_retain_index_list": "",
        "causal_window_fix": True,
    }
    windowed = pictures(server, between(four(), "model", "ContextWindowsManual", "model", **windows))
    cut = pictures(server, between(four(), "latent_image", "LatentFromBatch", "samples", batch_index=1, length=2))
    assert len(windowed) == 4 and len(cut) == 2
    for actual, expected in zip([*windowed, *cut], [*full, *full[1:3]], strict=True):
        assert difference(actual, expected) <= 1
    assert difference(full[0], full[2]) > 8  # another noise

    copies = between(four(), "latent_image", "LatentFromBatch", "samples", batch_index=1, length=2)
    one_seed = between(copies, "latent_image", "LatentBatchSeedBehavior", "samples", seed_behavior="fixed")
    assert "whose each is cannot be known any more. Cut them out last" in failure(server, one_seed).message


@pytest.mark.slow
def test_deep_shrink_by_one_and_a_half_keeps_regions(small, alone, picture):
    shrink = {
        "downscale_factor": 1.5,
        "block_number": 3,
        "start_percent": 0.0,
        "end_percent": 1.0,
        "downscale_after_skip": True,
        "downscale_method": "bicubic",
        "upscale_method": "bicubic",
    }

    def drawn(workflow: workflows.Workflow) -> np.ndarray:
        return picture(between(workflow, "model", "PatchModelAddDownscale", "model", **shrink))

    everywhere = alone(6.0)
    apply = everywhere[workflows.node(everywhere, "HyperLoRAApply")]
    apply["class_type"], lora = "HyperLoRAApplyRegions", apply["inputs"].pop("lora")
    apply["inputs"] = {
        "model": apply["inputs"]["model"],
        "loras.lora0": lora,
        "masks.mask0": ["ones", 0],
        "strength": 1.0,
    }
    everywhere["ones"] = workflows.new("SolidMask", value=1.0, width=64, height=64)
    assert difference(drawn(everywhere), drawn(alone(6.0, application="run-time"))) <= 1
    as_connected, swapped = (
        drawn(weigh(halves(small("people_regions")), *weights)) for weights in ((6.0, -6.0), (-6.0, 6.0))
    )
    assert difference(as_connected, swapped) > 8


def test_refining_faces_of_a_model_with_regions_is_refused(small, server, uploaded):
    workflow = halves(small("people_regions"))
    sampler = workflow[workflows.node(workflow, "KSampler")]["inputs"]
    apply = workflow[workflows.node(workflow, "HyperLoRAApplyRegions")]["inputs"]
    workflow["photo"] = workflows.new("LoadImage", image=uploaded["obama"])
    workflow["refine"] = workflows.new(
        "HyperLoRARefineFaces",
        images=["photo", 0],
        vae=[workflows.node(workflow, "CheckpointLoaderSimple"), 2],
        **{name: sampler[name] for name in ("model", "positive", "negative")},
        **{"loras.lora0": apply["loras.lora0"], "strength": 1.0, "assignment": "left to right", "least_likeness": 0.1},
        **{"seed": 0, "steps": 1, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.4},
        **{"size": 256, "surroundings": 1.6, "feather": 0.08, "on_no_face": "skip", "face_model": "auto"},
    )
    workflow[workflows.node(workflow, "SaveImage")]["inputs"]["images"] = ["refine", 0]
    assert failure(server, workflow).message.startswith("the model has people in regions, and each face would be given")


def test_people_in_regions_and_for_prompts(small, server, picture):
    for name in ("people_regions", "people_prompts"):
        as_connected, swapped = (
            picture(weigh(halves(small(name)), *weights)) for weights in ((6.0, -6.0), (-6.0, 6.0))
        )
        assert difference(as_connected, swapped) > 8


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
    workflow["hook"] = workflows.new("HyperLoRACreateHook", lora=lora, strength=1.0)
    inputs = workflow[sampler]["inputs"]
    inputs["model"] = workflow[apply]["inputs"]["model"]
    del workflow[apply]
    for side in ("positive", "negative"):
        workflow[side] = workflows.new(
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
    workflow["s"] = workflows.new("HyperLoRASchedule", curve="rise", start_percent=0.0, end_percent=1.0, points="")
    workflow["save"] = workflows.new(
        "HyperLoRASave", lora=lora, filename_prefix="people/baked", dtype="fp32", schedule=["s", 0]
    )
    server.run(workflow)
    saved = small("saved_lora", LoraLoaderModelOnly={"lora_name": "people/baked_00001_.safetensors"})
    from_file = picture(saved)
    assert difference(from_file, picture(alone(3.0))) <= 1 < difference(from_file, picture(alone(6.0)))


def test_what_does_not_go_together_is_said(small, server):
    regions = halves(small("people_regions"))
    apply = workflows.node(regions, "HyperLoRAApplyRegions")
    regions[apply]["inputs"]["masks.mask2"] = regions[apply]["inputs"]["masks.mask0"]
    assert failure(server, regions).message == "there are 3 masks for 2 people: each person needs one"

    empty = halves(small("people_prompts"))
    full = workflows.nodes(empty, "SolidMask")[0]
    for number in workflows.nodes(empty, "HyperLoRAPersonForPrompt"):
        empty[number]["inputs"]["mask"] = [full, 0]
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
    workflow["apply"] = workflows.new(
        "HyperLoRAApply", model=model, lora=["foreign", 0], strength=1.0, application="run-time"
    )
    workflow["foreign"] = workflows.new("TestForeignLora")
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
