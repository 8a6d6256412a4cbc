"""HyperLoRA Portrait and its single steps on a real server: what the picture depends on, and what not."""

import copy
import itertools

import numpy as np
import pytest
import torch
from safetensors import safe_open

from demo import workflows
from hyperlora_core import LoRA
from tests.host.conftest import difference
from tests.support.models import STYLE_LORA


def rewired(workflow: workflows.Workflow, model: list) -> workflows.Workflow:
    """A copy of the workflow whose sampler has another MODEL."""
    changed = copy.deepcopy(workflow)
    changed[workflows.node(changed, "KSampler")]["inputs"]["model"] = model
    return changed


@pytest.fixture(scope="module")
def plain(small, picture) -> np.ndarray:
    """The picture of the base model alone."""
    workflow = small("portrait_simple")
    return picture(rewired(workflow, [workflows.node(workflow, "CheckpointLoaderSimple"), 0]))


@pytest.fixture(scope="module")
def portrait(small, picture) -> np.ndarray:
    """The picture that the Portrait node gives of one person."""
    return picture(small("portrait_simple"))


def test_the_picture_is_a_picture_and_changes_with_the_person(small, picture, plain, portrait):
    assert plain.shape == (128, 128, 3) and plain.std() > 10
    assert difference(portrait, plain) > 20
    assert difference(picture(small("portrait_simple", "biden")), portrait) > 5


def test_the_simple_way_equals_the_single_steps(small, picture, portrait):
    assert np.array_equal(picture(small("portrait_steps")), portrait)


def test_the_simple_way_equals_the_single_steps_with_base(small, picture, portrait):
    steps = picture(small("portrait_steps_base"))
    simple = picture(small("portrait_simple", HyperLoRAPortrait={"base_weight": 0.4}))
    assert np.array_equal(simple, steps)
    assert difference(steps, portrait) > 5


def test_several_photos_of_unequal_sizes(small, picture, uploaded, portrait, server):
    workflow = small("portrait_several_photos")
    names = ["obama", "obama2", "obama3"]
    pictures = {}
    for order in (names, names[::-1]):
        for number, name in zip(workflows.nodes(workflow, "LoadImage"), order, strict=True):
            workflow[number]["inputs"]["image"] = uploaded[name]
        pictures[tuple(order)] = picture(copy.deepcopy(workflow))
    first, second = pictures.values()
    assert difference(first, second) <= 2, "photos are averaged, so their order is nothing"
    assert difference(first, portrait) > 1


@pytest.mark.slow
def test_a_persons_loras_are_nearer_to_each_other_than_to_anothers(small, server, uploaded):
    """LoRAs of one photo, of another and of three together, saved over the API."""
    changes = {}
    for name, photos in {
        "first": ["obama"],
        "second": ["obama2"],
        "three": ["obama", "obama2", "obama3"],
        "another": ["biden"],
        "third person": ["astronaut"],
    }.items():
        workflow = small("portrait_steps", photos[0], HyperLoRASave={"filename_prefix": f"near/{name}"})
        for i, photo in enumerate(photos[1:], start=1):
            workflow[f"9{i}"] = {"class_type": "LoadImage", "inputs": {"image": uploaded[photo]}}
            workflow[workflows.node(workflow, "HyperLoRADetectFaces")]["inputs"][f"images.image{i}"] = [f"9{i}", 0]
        result = server.run(workflow)
        (path,) = result.outputs[workflows.node(workflow, "HyperLoRASave")]["text"]
        factors = (factors for _, factors in LoRA.load(path).to(torch.float32).factors())
        changes[name] = torch.cat([(f.up @ f.down).flatten() for f in factors])
    near = {
        frozenset(pair): float(torch.cosine_similarity(*(changes[name] for name in pair), dim=0))
        for pair in itertools.combinations(changes, 2)
    }
    person = {"first", "second", "three"}
    assert min(v for pair, v in near.items() if pair <= person) > max(v for p, v in near.items() if not p <= person), (
        near
    )


def test_a_batch_is_the_same_as_single_photos(small, picture, uploaded):
    workflow = small("portrait_several_photos")
    portrait = workflows.node(workflow, "HyperLoRAPortrait")
    for number in workflows.nodes(workflow, "LoadImage"):
        workflow[number]["inputs"]["image"] = uploaded["obama"]
    single = picture(workflow)
    batch = {number: node for number, node in copy.deepcopy(workflow).items() if node["class_type"] != "LoadImage"}
    batch["50"] = {"class_type": "LoadImage", "inputs": {"image": uploaded["obama"]}}
    batch["51"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["50", 0], "amount": 3}}
    inputs = batch[portrait]["inputs"]
    batch[portrait]["inputs"] = {k: v for k, v in inputs.items() if not k.startswith("images.")} | {
        "images.image0": ["51", 0]
    }
    assert np.array_equal(picture(batch), single)


def test_weight_and_strength_zero_are_the_base_model(small, picture, plain):
    assert np.array_equal(picture(small("portrait_simple", HyperLoRAPortrait={"id_weight": 0.0})), plain)
    assert np.array_equal(picture(small("portrait_steps", HyperLoRAApply={"strength": 0.0})), plain)


def test_strength_goes_with_weight(small, picture, portrait):
    halved = small("portrait_steps", HyperLoRAGenerate={"id_weight": 1.6}, HyperLoRAApply={"strength": 0.5})
    assert difference(picture(halved), portrait) <= 2
    assert difference(picture(small("portrait_steps", HyperLoRAApply={"strength": -1.0})), portrait) > 5


def test_nothing_of_the_person_stays_behind(small, picture, plain):
    workflow = small("portrait_simple")
    picture(workflow)
    bypassed = rewired(workflow, [workflows.node(workflow, "CheckpointLoaderSimple"), 0])
    bypassed[workflows.node(bypassed, "KSampler")]["inputs"]["seed"] = 7
    picture(bypassed)
    bypassed[workflows.node(bypassed, "KSampler")]["inputs"]["seed"] = 1
    assert np.array_equal(picture(bypassed), plain)


@pytest.mark.slow
def test_the_order_of_loras_and_controlnet_does_not_matter(small, picture, portrait, uploaded):
    """Two ordinary LoRAs and HyperLoRA in every order, with ControlNet, give one picture."""
    base = small("portrait_controlnet_lora", LoraLoaderModelOnly={"strength_model": 0.5})
    (style,) = workflows.nodes(base, "LoraLoaderModelOnly")
    hyper = workflows.node(base, "HyperLoRAPortrait")
    base["60"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"lora_name": STYLE_LORA, "strength_model": -0.2, "model": None},
    }
    pictures = []
    for order in itertools.permutations([style, hyper, "60"]):
        workflow = copy.deepcopy(base)
        model = [workflows.node(workflow, "CheckpointLoaderSimple"), 0]
        for number in order:
            workflow[number]["inputs"]["model"] = model
            model = [number, 0]
        pictures.append(picture(rewired(workflow, model)))
    assert max(difference(pixels, pictures[0]) for pixels in pictures[1:]) <= 2
    without_control = small("portrait_controlnet_lora", ControlNetApplyAdvanced={"strength": 0.0})
    assert difference(picture(without_control), pictures[0]) > 5
    assert difference(portrait, pictures[0]) > 5


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_a_saved_lora_gives_the_same_picture_in_comfyuis_own_loader(small, picture, server, portrait, dtype):
    workflow = small("portrait_steps", HyperLoRASave={"filename_prefix": f"people/{dtype}", "dtype": dtype})
    result = server.run(workflow)
    (path,) = result.outputs[workflows.node(workflow, "HyperLoRASave")]["text"]
    assert path == str(server.output / "loras" / "people" / f"{dtype}_00001_.safetensors")
    reloaded = picture(small("saved_lora", LoraLoaderModelOnly={"lora_name": f"people/{dtype}_00001_.safetensors"}))
    if dtype == "fp32":
        assert np.array_equal(reloaded, portrait)
    else:
        assert difference(reloaded, portrait) <= 8, "the file's values are rounded, the graph's are not"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_module"] == "networks.lora"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("8", "4")
    assert metadata["modelspec.trigger_phrase"] == "fcsks fxhks fhyks"
    assert metadata["hyperlora.checkpoint"] == "hyperlora_demo"
    assert len(metadata["hyperlora.checkpoint_fingerprint"]) == 64


def test_comfyuis_own_nodes_take_the_lora(small, picture, portrait):
    workflow = small("portrait_steps")
    apply = workflows.node(workflow, "HyperLoRAApply")
    inputs = workflow[apply]["inputs"]
    workflow[apply] = {
        "class_type": "LoraModelLoader",
        "inputs": {"model": inputs["model"], "lora": inputs["lora"], "strength_model": 1.0, "bypass": False},
    }
    assert np.array_equal(picture(workflow), portrait)


@pytest.mark.parametrize("id_weight", [0.8, 1.0])
def test_comfyuis_own_node_saves_the_lora(small, server, picture, id_weight):
    workflow = small("portrait_steps", HyperLoRAGenerate={"id_weight": id_weight})
    save = workflows.node(workflow, "HyperLoRASave")
    workflow[save] = {
        "class_type": "SaveLoRA",
        "inputs": {"lora": workflow[save]["inputs"]["lora"], "prefix": f"loras/theirs_{id_weight}"},
    }
    expected = picture(workflow)
    reloaded = small("saved_lora", LoraLoaderModelOnly={"lora_name": f"theirs_{id_weight}_00001_.safetensors"})
    assert np.array_equal(picture(reloaded), expected)


def test_the_face_is_chosen_on_a_group_photo(small, server, picture, uploaded):
    pictures = {
        (order, index): picture(small("portrait_steps", "group", HyperLoRADetectFaces={"order": order, "index": index}))
        for order, index in (("left to right", 0), ("left to right", 5), ("largest", 0))
    }
    largest, leftmost, _ = pictures.values()
    assert difference(largest, leftmost) > 5


def test_best_match_finds_the_person_of_the_reference(small, server, uploaded, photos, tmp_path):
    """A photo cut out of the group picture finds the second face from the left: the crop is that of index 1."""
    by_place = small("portrait_steps", "group", HyperLoRADetectFaces={"order": "left to right", "index": 1})
    crops = {}
    encode = workflows.node(by_place, "HyperLoRAEncodeIdentity")
    result = server.run(by_place)
    crops["place"] = server.view(result.outputs[encode]["images"][0])
    by_match = small("portrait_steps", "group", HyperLoRADetectFaces={"order": "best match", "index": 0})
    detect = workflows.node(by_match, "HyperLoRADetectFaces")
    by_match["70"] = {
        "class_type": "LoadImage",
        "inputs": {"image": server.upload(_second_from_left(photos, tmp_path))},
    }
    by_match[detect]["inputs"]["reference"] = ["70", 0]
    result = server.run(by_match)
    assert server.view(result.outputs[encode]["images"][0]) == crops["place"]


def _second_from_left(photos, tmp_path):
    from demo.face_pack import face_pack
    from hyperlora_core import FaceAnalyzer, open_photo
    from hyperlora_core.faces.crops import face_box

    group = open_photo(photos["group"])
    face = sorted(FaceAnalyzer.load(face_pack()).detect(group), key=lambda face: face.box[0])[1]
    path = tmp_path / "second.png"
    group.crop(face_box(face.landmarks, scale=1.2)).save(path)
    return path
