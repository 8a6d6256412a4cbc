"""Every method draws the same people, prompts and seeds; photos that are held out are given to none."""

import json
import shutil

import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.evaluation.methods import Method, Where, chosen
from hyperlora_core.evaluation.plan import Sweep, plan, read_persons, read_sweep, readable
from hyperlora_core.evaluation.protocol import EDITABLE, HEADSHOT, PROMPTS, STYLE, Prompt, Protocol

METHODS = ("hyperlora-id", "hyperlora-full", "none", "trained-lora", "instantid", "arc2face")


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    for person, names in (("barack", ("obama", "obama2", "obama3")), ("joe", ("biden",))):
        (folder / person).mkdir()
        for name in names:
            shutil.copy(photos[name], folder / person)
    shutil.copy(photos["astronaut"], folder / "eileen.png")  # as Unsplash-50 has them: a photo each
    return folder


@pytest.fixture(scope="module")
def people(folder):
    return read_persons(folder)


def drawn(found, method):
    return [task for task in found.tasks if task.labels["method"] == method]


def test_an_unreadable_photo_costs_its_person_alone(photos, tmp_path):
    shutil.copy(photos["obama"], tmp_path / "barack.jpg")
    (tmp_path / "joe.jpg").write_bytes(photos["biden"].read_bytes()[:5000])
    people, said = readable(read_persons(tmp_path))
    assert [person.name for person in people] == ["barack"]
    (sentence,) = said
    assert sentence.startswith(f"joe is left out: the photo {tmp_path / 'joe.jpg'} cannot be read")
    (tmp_path / "barack.jpg").unlink()
    with pytest.raises(HyperLoRAError, match="joe is left out"):
        readable(read_persons(tmp_path))


def test_the_papers_protocol_is_the_default():
    protocol = Protocol()
    groups = [prompt.group for prompt in protocol.prompts]
    assert [groups.count(group) for group in (HEADSHOT, EDITABLE, STYLE)] == [1, 10, 3] and len(protocol.headshots) == 4
    names = {prompt.name for prompt in PROMPTS}
    assert {"white shirt", "wolf ears", "sketch", "sculpture", "painting"} <= names


def test_every_method_draws_the_same(people):
    found = plan(Protocol(), people, chosen(METHODS))
    assert [person.name for person in found.people] == ["barack", "eileen", "joe"]
    each = 4 + 10 + 3
    asked = {}
    assert [v.method.name for v in found.variants][:2] == ["none@cfg=4.5", "none@cfg=5"]  # those of who reads prompts
    for method in (*(name for name in METHODS if name != "none"), "none@cfg=5"):
        tasks = drawn(found, method)
        asked[method] = {(task.job.person, task.labels["name"], task.labels["seed"]) for task in tasks}
        assert len(asked[method]) == len(tasks) == {"none@cfg=5": each, "arc2face": 3 * 4}.get(method, 3 * each)
        sampler = "Arc2FaceGenerator" if method == "arc2face" else "KSampler"
        for task in tasks:
            filled = task.filled(["a.png"] * len(task.job.photos))
            (node,) = [node["inputs"] for node in filled.values() if node["class_type"] == sampler]
            assert node["seed"] == task.labels["seed"]
            if method != "arc2face":
                texts = [node["inputs"].get("text", "") for node in filled.values()]
                assert any(text.endswith(task.labels["prompt"]) for text in texts)
                assert (node["steps"], node["sampler_name"], node["scheduler"]) == (30, "dpmpp_2m", "karras")
    assert asked["hyperlora-id"] == asked["hyperlora-full"] == asked["trained-lora"] == asked["instantid"]
    assert {place[1:] for place in asked["hyperlora-id"]} == {place[1:] for place in asked["none@cfg=5"]}
    cfg = {
        method: [node["inputs"]["cfg"] for node in drawn(found, method)[0].workflow.values() if "cfg" in node["inputs"]]
        for method in ("hyperlora-id", "instantid")
    }
    assert cfg["hyperlora-id"] == [5.0] and cfg["instantid"] == [4.5]  # each at its own
    assert len({task.key for task in found.tasks}) == len(found.tasks)
    assert found.tasks[0].labels["family"] == "none"  # all others are compared with it
    (task,) = [task for task in drawn(found, "instantid") if (task.job.person, task.labels["name"]) == ("joe", "beach")]
    assert task.labels["settings"]["cfg"] == 4.5 and task.labels["settings"]["weight"] == 0.8


def test_photos_are_given_or_held_out(people):
    found = plan(Protocol(photos=2), people, chosen(METHODS), [Sweep("photos", (1, 2))])
    barack = next(person for person in found.people if person.name == "barack")
    assert [len(barack.photos), len(barack.held_out)] == [2, 1]
    given = {path for task in found.tasks for path in task.job.photos}
    assert not given & {path for person in found.people for path in person.held_out}

    def photos(method):
        (number,) = {len(task.job.photos) for task in drawn(found, method) if task.job.person == "barack"}
        return number

    some = ("hyperlora-id", "hyperlora-id@photos=1", "instantid", "instantid@photos=1", "arc2face", "trained-lora")
    assert [photos(method) for method in some] == [2, 1, 2, 1, 1, 0]
    assert not any(task.labels["method"] == "arc2face@photos=1" for task in found.tasks)  # it takes one alone
    (one,) = {len(task.filled(["a", "b"])["13"]["inputs"]) for task in drawn(found, "instantid")}
    assert one == 2  # both are in the batch that its pack averages
    number = {variant.method.name: variant.photos for variant in found.variants}
    assert [number[m] for m in ("hyperlora-id", "arc2face", "trained-lora", "none@cfg=5")] == [2, 1, 0, 0]


@pytest.mark.parametrize("methods", [METHODS, ("arc2face",), ("trained-lora", "none")])
def test_what_is_held_out_is_the_same_whichever_methods_there_are(people, methods):
    held = [len(plan(Protocol(photos=n), people, chosen(methods)).people[0].held_out) for n in (1, 2, 3, 9)]
    assert held == [2, 1, 0, 0]


def test_inputs_beyond_a_persons_photos_get_the_same_again(people):
    value = {"workflow": chosen(("instantid",))[0].workflow, "slots": {"seed": "Sampler.seed", "prompt": "Prompt.text"}}
    value["workflow"]["99"] = {"class_type": "LoadImage", "inputs": {"image": "b.png"}, "_meta": {"title": "More"}}
    value["slots"]["photo"] = ["Photo.image", "More.image"]
    found = plan(Protocol(photos=3), people, [Method.from_json("mine", value)])
    for task in found.tasks:
        names = [path.stem for path in task.job.photos]
        assert names == {"barack": ["obama", "obama2"], "joe": ["biden"] * 2, "eileen": ["eileen"] * 2}[task.job.person]
        shown = [n["inputs"]["image"] for n in task.filled(["x", "y"]).values() if n["class_type"] == "LoadImage"]
        assert shown == ["x", "y"]


def test_a_sweep_through_a_methods_own_value_asks_for_the_same(people):
    found = plan(Protocol(), people, chosen(("hyperlora-id",)), [Sweep("weight", (0.4, 0.8))])
    own, same, other = (
        [task.key for task in drawn(found, f"hyperlora-id{name}")] for name in ("", "@weight=0.8", "@weight=0.4")
    )
    assert own == same and not set(own) & set(other)
    order = [task.labels["method"] for task in found.tasks]
    assert order.index("hyperlora-id") < order.index("hyperlora-id@weight=0.8")  # whose cold start counts


def test_a_curve_over_photos_is_of_who_has_enough(people):
    found = plan(Protocol(), people, chosen(("hyperlora-id", "none")), [Sweep("photos", (1, 3))])
    by_method = {
        name: {task.job.person for task in drawn(found, name)}
        for name in ("hyperlora-id", "hyperlora-id@photos=1", "hyperlora-id@photos=3")
    }
    assert by_method == {
        "hyperlora-id": {"barack", "joe", "eileen"},
        "hyperlora-id@photos=1": {"barack"},
        "hyperlora-id@photos=3": {"barack"},
    }
    with pytest.raises(HyperLoRAError, match="nobody has as many photos"):
        plan(Protocol(), people, chosen(("hyperlora-id",)), [Sweep("photos", (1, 9))])


def test_a_baseline_is_drawn_at_every_cfg_and_each_variant_knows_its_own(people):
    value = {"workflow": chosen(("none",))[0].workflow, "photos": False}
    value["slots"] = {"seed": "Sampler.seed", "prompt": "Prompt.text"}  # none for its CFG
    methods = [*chosen(("hyperlora-id", "instantid", "arc2face", "none")), Method.from_json("mine", value)]
    found = plan(Protocol(), people, methods, [Sweep("cfg", (3.0, 5.0))])
    of = {one.method.name: one for one in found.variants}
    assert {name: one.sweep for name, one in of.items() if one.family == "none"} == {
        "none@cfg=3": "cfg",
        "none@cfg=4.5": "",
        "none@cfg=5": "",
    }
    assert of["hyperlora-id"].baseline == of["mine"].baseline == of["instantid@cfg=5"].baseline == "none@cfg=5"
    assert of["instantid"].baseline == "none@cfg=4.5" and of["hyperlora-id@cfg=3"].baseline == "none@cfg=3"
    assert of["arc2face"].baseline == of["none@cfg=5"].baseline == ""


def test_a_sweep_down_to_a_cfg_of_nothing_is_compared_with_the_same(people):
    found = plan(Protocol(), people, chosen(("hyperlora-id", "none")), [Sweep("cfg", (0.0,))])
    assert {one.method.name: one.baseline for one in found.variants}["hyperlora-id@cfg=0"] == "none@cfg=0"


def test_sweeps_of_one_slot_are_one(people):
    found = plan(Protocol(), people, chosen(("hyperlora-id",)), [Sweep("weight", (0.4,)), Sweep("weight", (0.4, 1.0))])
    names = [one.method.name for one in found.variants]
    assert names == ["hyperlora-id", "hyperlora-id@weight=0.4", "hyperlora-id@weight=1"]


def test_what_reads_no_prompt_is_not_swept(people):
    found = plan(Protocol(), people, chosen(("hyperlora-id", "arc2face")), [Sweep("cfg", (2.0,))])
    assert [one.method.name for one in found.variants if one.family == "arc2face"] == ["arc2face"]


def test_a_table_with_prompts_of_its_own_is_refused(photos, tmp_path):
    (tmp_path / "people.csv").write_text(f"person,photos,seed\njoe,{photos['biden']},4\n")
    with pytest.raises(HyperLoRAError, match="has prompts, seeds or inputs of its own"):
        read_persons(tmp_path / "people.csv")


@pytest.mark.parametrize("name", ["hyperlora-id", "hyperlora-full", "instantid", "ipadapter-faceid-portrait", "pulid"])
def test_start_and_end_are_swept(people, name):
    found = plan(Protocol(), people, chosen((name,)), [Sweep("start", (0.2,)), Sweep("end", (0.7,))])
    whole, start, end = (drawn(found, method)[0].workflow for method in (name, f"{name}@start=0.2", f"{name}@end=0.7"))
    for other, value, names in ((start, 0.2, {"start_at", "start_percent"}), (end, 0.7, {"end_at", "end_percent"})):
        (number,) = [number for number in whole if whole[number] != other[number]]
        changed = {place for place, was in whole[number]["inputs"].items() if other[number]["inputs"][place] != was}
        assert len(changed & names) == len(changed) == 1 and other[number]["inputs"][changed.pop()] == value


def test_tasks_are_for_the_servers_that_have_their_method(people):
    able = {
        "instantid": Where(dict.fromkeys(("barack", "eileen", "joe"), frozenset({"a"})), {}),
        "none": Where({"": frozenset({"a", "b"})}, {}),
    }
    found = plan(Protocol(), people, chosen(("instantid", "none", "pulid")), [Sweep("weight", (0.5,))], able)
    by_method = {task.labels["method"]: task.servers for task in found.tasks}
    assert by_method["instantid"] == by_method["instantid@weight=0.5"] == {"a"} and by_method["pulid"] == set()
    assert {servers for method, servers in by_method.items() if method.startswith("none")} == {frozenset("ab")}


def test_a_prompt_of_ones_own_holds_every_prompt(people):
    (method,) = chosen(("trained-lora",))
    mine = method.with_settings(method.name, method.title, {"prompt": "ohwx {person}, {prompt}"})
    found = plan(Protocol(), people, [mine])
    for task in found.tasks:
        texts = [node["inputs"].get("text") for node in task.workflow.values()]
        assert f"ohwx {task.job.person}, {task.labels['prompt']}" in texts
    for setting, message in (({"prompt": "ohwx"}, "holds no {prompt}"), ({"seed": 1}, "its seed is the evaluation's")):
        with pytest.raises(HyperLoRAError, match=message):
            method.with_settings("mine", "", setting)


def test_a_sweep_varies_one_slot(people):
    found = plan(
        Protocol(),
        people,
        chosen(("hyperlora-full", "instantid", "none")),
        [read_sweep("weight=0.4,1"), read_sweep("cfg=3")],
    )
    names = [variant.method.name for variant in found.variants]
    assert names[:3] == ["none@cfg=3", "none@cfg=4.5", "none@cfg=5"] and "none@weight=0.4" not in names
    for method in ("hyperlora-full", "instantid"):
        assert {f"{method}@weight=0.4", f"{method}@weight=1", f"{method}@cfg=3"} <= set(names)
    plain, swept = drawn(found, "instantid")[0].workflow, drawn(found, "instantid@weight=0.4")[0].workflow
    differ = [number for number in plain if plain[number] != swept[number]]
    assert [swept[number]["inputs"]["weight"] for number in differ] == [0.4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight", "cannot be read"),
        ("weight=a", "cannot be read"),
        ("colour=1", "cannot be swept"),
        ("photos=1.5", "whole numbers"),
        ("start=1", "start is from 0 to below 1"),
        ("start=-3", "start is from 0 to below 1"),
        ("end=0", "end from above 0 to 1"),
    ],
)
def test_a_wrong_sweep_is_said(text, message):
    with pytest.raises(HyperLoRAError, match=message):
        read_sweep(text)


def test_what_cannot_be_planned_is_said(folder, people, tmp_path):
    with pytest.raises(HyperLoRAError, match="none of the methods none has 'base_weight'"):
        plan(Protocol(), people, chosen(("none",)), [Sweep("base_weight", (1,))])
    shutil.copytree(folder, tmp_path / "people")
    shutil.copy(tmp_path / "people" / "eileen.png", tmp_path / "people" / "joe.png")
    with pytest.raises(HyperLoRAError, match="has 'joe' twice"):
        read_persons(tmp_path / "people")


def test_a_protocol_is_read_as_it_was_written(tmp_path):
    protocol = Protocol(checkpoint="a.safetensors", prompts=(Prompt("one", "a person", STYLE),), seeds=(3, 4), steps=7)
    path = tmp_path / "protocol.json"
    path.write_text(json.dumps(protocol.to_json()))
    assert Protocol.read(path) == protocol and protocol.values()["checkpoint"] == "a.safetensors"
    assert Protocol().checkpoint.startswith("HelloWorldXL") and "checkpoint" not in Protocol(checkpoint="").values()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "is a JSON object"),
        ({"colour": 1}, "'colour' is unknown"),
        ({"prompts": [{"name": "a", "text": "b"}]}, "cannot be read"),
        ({"prompts": [{"name": "a", "text": "b", "group": "odd"}]}, "group 'odd' is unknown"),
        ({"prompts": [{"name": "a", "text": "b", "group": "style"}] * 2}, "two prompts 'a'"),
        ({"prompts": []}, "at least one of each"),
        ({"prompts": [{"name": "a", "text": 5, "group": "style"}]}, "are texts"),
        ({"seeds": ["a"]}, r"seeds is \['a'\], where whole numbers in a list"),
        ({"seeds": "12"}, "seeds is '12', where whole numbers in a list"),
        ({"headshots": [1.7]}, r"headshots is \[1.7\]"),
        ({"seeds": []}, "at least one of each"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"steps": 0}, "numbers from 1"),
        ({"sampler": 3}, "sampler is 3"),
    ],
)
def test_a_wrong_protocol_is_said(value, message):
    with pytest.raises(HyperLoRAError, match=message):
        Protocol.from_json(value)
