"""Methods are whole workflows, whose slots are there; a user's own is refused by name where it is wrong."""

import copy
import json

import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.evaluation.methods import (
    BASELINE,
    STAGES,
    Method,
    Where,
    available,
    chosen,
    read_method,
    shipped,
)

OURS = ("hyperlora-id", "hyperlora-full", "none", "trained-lora")
RIVALS = ("arc2face", "instantid", "ipadapter-faceid-portrait", "photomaker", "pulid")


def manifest(name="none"):
    """A manifest that works, to be spoiled."""
    method = shipped()[name]
    slots = {slot: list(places) for slot, places in method.slots.items()}
    return {"workflow": copy.deepcopy(method.workflow), "slots": slots, "photos": False}


def test_all_of_the_papers_methods_ship():
    assert set(shipped()) == {*OURS, *RIVALS}


@pytest.mark.parametrize("name", [*OURS, *RIVALS])
def test_a_shipped_method_is_a_whole_workflow(name):
    method = shipped()[name]
    for node in method.workflow.values():
        links = [value for value in node["inputs"].values() if isinstance(value, list)]
        assert all(link[0] in method.workflow for link in links)
    kinds = [node["class_type"] for node in method.workflow.values()]
    assert kinds.count("SaveImage") == 1 and method.about and method.stages.keys() <= set(STAGES)
    used = {link[0] for node in method.workflow.values() for link in node["inputs"].values() if isinstance(link, list)}
    assert set(method.workflow) - used == {
        n for n, node in method.workflow.items() if node["class_type"] == "SaveImage"
    }


@pytest.mark.parametrize("name", [*OURS, *RIVALS])
def test_what_is_filled_in_is_all_that_changes(name):
    method = shipped()[name]
    values = {"seed": 77, "cfg": 3.5, "steps": 9, "width": 640, "prompt": "a prompt", "lora": "x.safetensors"}
    filled = method.filled(values, "somebody")
    expected = copy.deepcopy(method.workflow)
    for slot, value in values.items():
        for place in method.slots.get(slot, ()):
            title, _, wanted = place.rpartition(".")
            for node in expected.values():
                if node["_meta"]["title"] == title:
                    node["inputs"][wanted] = value
    if name == "trained-lora":
        (node,) = [node for node in expected.values() if node["class_type"] == "LoraLoader"]
        node["inputs"]["lora_name"] = "somebody.safetensors"  # its own setting goes before
    assert filled == expected and method.workflow == shipped()[name].workflow


def test_trigger_words_are_the_methods_own():
    assert shipped()["hyperlora-id"].prompt == "fcsks fxhks fhyks, {prompt}" and shipped()["none"].prompt == "{prompt}"
    assert not shipped()["none"].identity and shipped()["arc2face"].fidelity_only


def test_a_variant_has_settings_of_its_own():
    method = shipped()["instantid"].with_settings(
        "instantid@weight=0.5", "", {"weight": 0.5, "ControlNet.control_net_name": "x"}
    )
    filled = method.filled({"weight": 0.9, "seed": 1})
    assert [node["inputs"]["weight"] for node in filled.values() if "weight" in node["inputs"]] == [0.5]
    assert "x" in [node["inputs"].get("control_net_name") for node in filled.values()]
    with pytest.raises(HyperLoRAError, match="no node 'Nobody' with an input 'x'"):
        method.with_settings("a", "", {"Nobody.x": 1}).filled({})


def test_stages_are_of_the_method_or_of_comfyui():
    method = shipped()["hyperlora-full"]
    kinds = {node["class_type"]: method.stage_of(node["class_type"]) for node in method.workflow.values()}
    assert kinds["HyperLoRAEncodeBase"] == "encode" and kinds["HyperLoRAGenerate"] == "apply"
    assert (kinds["KSampler"], kinds["VAEDecode"], kinds["SaveImage"]) == ("sample", "decode", "other")


def test_what_a_server_lacks_is_named():
    method = shipped()["instantid"]
    info = {node["class_type"]: {"input": {"required": {}}} for node in method.workflow.values()}
    info["CheckpointLoaderSimple"] = {"input": {"required": {"ckpt_name": [["a.safetensors"]]}}}
    info["ControlNetLoader"] = {"input": {"required": {"control_net_name": ["COMBO", {"options": ["b"]}]}}}
    assert method.missing(info, {"checkpoint": "a.safetensors"}) == [
        "ControlNetLoader has no control_net_name 'instantid/diffusion_pytorch_model.safetensors'"
    ]
    assert "CheckpointLoaderSimple has no ckpt_name 'c'" in method.missing(info, {"checkpoint": "c"})
    del info["ApplyInstantID"], info["InstantIDModelLoader"]
    assert method.missing(info, {}) == [
        "its nodes ApplyInstantID, InstantIDModelLoader are not installed (https://github.com/cubiq/ComfyUI_InstantID)"
    ]
    trained = shipped()["trained-lora"]
    info |= {node["class_type"]: {} for node in trained.workflow.values()}
    info["LoraLoader"] = {"input": {"required": {"lora_name": [["other.safetensors"]]}}}
    assert trained.missing(info, {}, "other") == []
    assert trained.missing(info, {}, "anna") == ["LoraLoader has no lora_name 'anna.safetensors'"]
    info["ControlNetLoader"] = {
        "input": {"required": {"control_net_name": [["instantid\\diffusion_pytorch_model.safetensors"]]}}
    }
    info |= {node["class_type"]: {} for node in method.workflow.values() if node["class_type"] not in info}
    assert method.missing(info, {"checkpoint": "a.safetensors"}) == []  # a server on Windows


class Server:
    """What it has, as ComfyClient tells it."""

    def __init__(self, url, methods, loras=()):
        self.url = url
        self._info = {node["class_type"]: {} for method in methods for node in method.workflow.values()}
        self._info["LoraLoader"] = {"input": {"required": {"lora_name": [list(loras)]}}}

    def object_info(self):
        return self._info


def test_each_server_draws_what_and_whom_it_can():
    trained, instantid, none = (shipped()[name] for name in ("trained-lora", "instantid", "none"))
    people = ["anna", "ben", "cleo"]
    one = Server("one", [trained, none], ["anna.safetensors"])
    two = Server("two", [trained, instantid, none], ["ben.safetensors"])
    three = Server("three", [none])
    del three._info["LoraLoader"]
    found = available([trained, instantid, none], [one, two, three], {}, people)
    assert found["none"] == Where({"": frozenset({"one", "two", "three"})}, {})
    assert found["instantid"].servers == dict.fromkeys(people, frozenset({"two"}))
    assert (
        found["instantid"].lacks.keys() == {"one", "three"} and "on one, its nodes ApplyInst" in found["instantid"].why
    )
    own = found["trained-lora"].servers
    assert (own["anna"], own["ben"]) == (frozenset({"one"}), frozenset({"two"}))
    assert own["cleo"] == frozenset({"one", "two"})  # nobody has hers: those who have others' say so
    absent = available([trained], [Server("one", [trained], ["zoe.safetensors"])], {}, people)["trained-lora"]
    assert absent.servers == {} and "no lora_name 'anna.safetensors'" in absent.why


def test_a_users_own_is_read_with_its_workflow_beside_it(tmp_path):
    value = manifest()
    (tmp_path / "flow.json").write_text(json.dumps(value["workflow"]))
    (tmp_path / "mine.json").write_text(json.dumps(value | {"workflow": "flow.json", "title": "Mine"}))
    method = read_method(tmp_path / "mine.json")
    assert (method.name, method.title, method.workflow) == ("mine", "Mine", value["workflow"])
    assert [each.name for each in chosen(["mine", BASELINE], [method])] == ["mine", "none"]
    assert [each.name for each in chosen([], [method])][-1] == "mine"
    with pytest.raises(HyperLoRAError, match="there is no method 'your'"):
        chosen(["your"], [method])
    for taken in ("none", "instantid"):
        (tmp_path / f"{taken}.json").write_text(json.dumps(value))
        with pytest.raises(HyperLoRAError, match=f"there are two methods '{taken}'"):
            chosen([], [read_method(tmp_path / f"{taken}.json")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": {"prompt": "Prompt.text"}}, "needs a slot 'seed'"),
        ({"slots": {"seed": "Sampler.seed"}}, 'needs a slot "prompt"'),
        ({"slots": {"seed": "Sampler.seed", "prompt": "Prompt.text", "colour": "a.b"}}, "slot 'colour' is unknown"),
        ({"slots": {"seed": "Sampler.seed", "prompt": "Nobody.text"}}, "no node 'Nobody' with an input 'text'"),
        ({"slots": {"seed": "Sampler.noise", "prompt": "Prompt.text"}}, "no node 'Sampler' with an input 'noise'"),
        ({"prompt": "a person"}, r"its prompt holds no \{prompt\}"),
        ({"colour": 1}, "'colour' is unknown"),
        ({"stages": {"dream": "KSampler"}}, "its stages are load, encode"),
        ({"workflow": "gone.json"}, "gone.json cannot be read"),
        ({"workflow": {"nodes": [], "links": []}}, "none in ComfyUI's API format"),
        ({"slots": ["seed"]}, "its slots are a JSON object"),
        ({"slots": {"seed": 5, "prompt": "Prompt.text"}}, "no node '' with an input '5'"),
        ({"prompt": 5}, "its prompt is text"),
        ({"settings": {"weight": 0.5}}, "has no slot 'weight': seed, "),
        ({"settings": {"seed": 1}}, "its seed is the evaluation's to set"),
        ({"settings": {"Sampler.seed": 1}}, "its Sampler.seed is the evaluation's to set"),
        ({"settings": {"prompt": "x"}}, "its prompt is the evaluation's to set"),
        ({"settings": {"Nobody.x": 1}}, "no node 'Nobody' with an input 'x'"),
        ({"slots": {"seed": "Sampler.seed", "prompt": "Prompt.text", "cfg": "Sampler.model"}}, "'cfg' is a link"),
        ({"photos": True}, 'needs a slot "photo", as "Load Image.image"; or say "photos": false'),
    ],
)
def test_a_wrong_manifest_is_refused_by_name(change, message, tmp_path):
    with pytest.raises(HyperLoRAError, match=message):
        Method.from_json("mine", manifest() | change, tmp_path)


@pytest.mark.parametrize("name", [*OURS, *RIVALS])
def test_what_is_written_down_is_read_again(name):
    method = shipped()[name].with_settings(name, "Another", {"steps": 7})
    assert Method.from_json(name, json.loads(json.dumps(method.to_json()))) == method


def test_what_is_no_manifest_is_said(tmp_path):
    (tmp_path / "mine.json").write_text("[]")
    with pytest.raises(HyperLoRAError, match="the method mine: its manifest is a JSON object"):
        read_method(tmp_path / "mine.json")
    (tmp_path / "mine.json").write_text("{")
    with pytest.raises(HyperLoRAError, match=r"mine\.json cannot be read"):
        read_method(tmp_path / "mine.json")
