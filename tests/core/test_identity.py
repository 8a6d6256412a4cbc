"""Identities as material: files, mixing of photos, blends of people, strengths by block, sliders."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from hyperlora_core import (
    BlockStrengths,
    HyperLoRAError,
    LoRA,
    Slider,
    encode_id,
    generate,
    generate_slider,
    load_identity,
    save_identity,
)
from hyperlora_core.cli import main
from hyperlora_core.doctor.inspection import inspect
from hyperlora_core.files import kinds, open_safetensors
from hyperlora_core.identity.mixing import agreement, blend, join, weighted, without_outliers
from hyperlora_core.network.config import Source
from tests.core.conftest import ONE_PERSON

ROWS = 8 * 30


def deltas(lora: LoRA) -> dict[str, torch.Tensor]:
    return {name: factors.scale * factors.up @ factors.down for name, factors in lora.factors()}


def difference(one: LoRA, other: LoRA) -> float:
    """The largest difference of two LoRAs' weight changes, over the largest change."""
    first, second = deltas(one), deltas(other)
    assert first.keys() == second.keys()
    largest = max(float(value.abs().max()) for value in first.values())
    return max(float((first[name] - second[name]).abs().max()) for name in first) / largest


@pytest.fixture(scope="module")
def three(network, clip, references):
    return encode_id(network, clip, [references[name] for name in ONE_PERSON])[0]


# --- files ---


@pytest.mark.long
def test_an_identity_survives_its_file(people, network, tmp_path):
    identity = replace(join([people["obama"], people["obama2"]]), weights=(1.0, 0.3))
    path = save_identity(identity, tmp_path / "people" / "obama.safetensors")
    back = load_identity(path)
    for name in ("id_rows", "base_rows", "embeds"):
        assert torch.equal(getattr(back, name), getattr(identity, name)), name
    for name in ("checkpoint", "attentions", "photos", "base_photos", "weights", "embedder", "settings"):
        assert getattr(back, name) == getattr(identity, name), name
    assert back.thumbnail.size == identity.thumbnail.size == (256, 256)
    assert back.embeds.shape == (2, 512) and len(back.photos) == 2 and back.settings["remove_background"] == "True"
    assert difference(generate(network, back), generate(network, identity)) == 0
    assert back.cache_key == identity.cache_key


def test_an_sdxl_identity_takes_little(people, tmp_path):
    identity = replace(people["obama"], id_rows=torch.randn(1, 1120, 128), base_rows=None, attentions=("x.y",) * 140)
    assert save_identity(identity, tmp_path / "sdxl.safetensors").stat().st_size < 0.65e6
    assert load_identity(tmp_path / "sdxl.safetensors").id_rows.shape == (1, 1120, 128)


def test_a_loaded_identity_is_not_bound_to_its_file(people, tmp_path):
    path = save_identity(people["obama"], tmp_path / "a.safetensors")
    loaded = load_identity(path)
    save_identity(people["biden"], path)
    assert torch.equal(loaded.id_rows, people["obama"].id_rows)
    save_identity(load_identity(path), path)
    assert torch.equal(load_identity(path).id_rows, people["biden"].id_rows)


def test_a_base_part_alone_can_be_saved(people, tmp_path):
    base = replace(people["obama"], id_rows=None, embeds=None, embedder=None, thumbnail=None)
    back = load_identity(save_identity(base, tmp_path / "base.safetensors"))
    assert back.id_rows is None and back.thumbnail is None and torch.equal(back.base_rows, base.base_rows)


def _broken(tensors, metadata, fault):
    match fault:
        case "rows missing":
            del tensors["id_rows"], tensors["base_rows"]
        case "a tensor too many":
            tensors["latents"] = torch.zeros(3)
        case "rows of another count":
            tensors["id_rows"] = tensors["id_rows"][:, :-8].contiguous()
        case "half precision":
            tensors["id_rows"] = tensors["id_rows"].half()
        case "no photo":
            tensors["id_rows"] = tensors["id_rows"][:0]
        case "NaN":
            tensors["base_rows"][0, 3, 2] = torch.nan
        case "embeddings of two photos":
            tensors["embeds"] = tensors["embeds"].repeat(2, 1)
        case "one weight too many":
            metadata["hyperlora.weights"] = "1.0 2.0"
        case "a weight below zero":
            metadata["hyperlora.weights"] = "-1.0"
        case "weights of zero":
            metadata["hyperlora.weights"] = "0"
        case "weights that are words":
            metadata["hyperlora.weights"] = "much"
        case "settings that are no JSON":
            metadata["hyperlora.settings"] = "{"
        case "settings that are a list":
            metadata["hyperlora.settings"] = "[1]"
        case "embedder of three parts":
            metadata["hyperlora.embedder"] = json.dumps(["a", "b", "c"])
        case "no checkpoint":
            del metadata["hyperlora.checkpoint"]
        case "a thumbnail that is no picture":
            tensors["thumbnail"] = torch.arange(99, dtype=torch.uint8)
        case "a later format":
            metadata["hyperlora.identity"] = "2"


FAULTS = {
    "rows missing": "holds none",
    "a tensor too many": "holds latents",
    "rows of another count": r"id_rows is \(1, 232, 16\)",
    "half precision": "float16",
    "no photo": r"id_rows is \(0, 240, 16\)",
    "NaN": "base_rows holds NaN",
    "embeddings of two photos": r"embeds is \(2, 512\)",
    "one weight too many": "2 weights",
    "a weight below zero": "weights are -1",
    "weights of zero": "weights are 0",
    "weights that are words": "cannot be read",
    "settings that are no JSON": "cannot be read",
    "settings that are a list": "cannot be read",
    "embedder of three parts": "cannot be read",
    "no checkpoint": "cannot be read",
    "a thumbnail that is no picture": "thumbnail is broken",
    "a later format": "update ComfyUI-HyperLoRA",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_identity_is_told(people, tmp_path, fault):
    path = save_identity(people["obama"], tmp_path / "broken.safetensors")
    tensors, metadata = load_file(path), dict(open_safetensors(path).metadata)
    _broken(tensors, metadata, fault)
    save_file(tensors, path, metadata)
    with pytest.raises(HyperLoRAError, match=f"broken.safetensors.*{FAULTS[fault]}"):
        load_identity(path)


def test_inspect_says_what_is_in_a_kept_file(people, tmp_path, capsys):
    joined = weighted(join([people["obama"], people["biden"]]), (1, 0.5))
    path = save_identity(joined, tmp_path / "two.safetensors")
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    for line in ("is an identity", "'hyperlora_demo' (", "2 sets of rows, of 2 photos", "1, 0.5", "agreement     "):
        assert line in said
    slider = Slider(((people["obama"], people["biden"]),)).save(tmp_path / "slider.safetensors")
    assert main(["inspect", str(slider)]) == 0
    assert "pairs         1" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:-100])
    assert main(["inspect", str(path)]) == 1
    assert "cut short" in capsys.readouterr().out


def test_another_kind_of_file_is_named(people, network, tmp_path):
    lora = generate(network, people["obama"]).save(tmp_path / "lora.safetensors")
    with pytest.raises(HyperLoRAError, match="not an identity but a LoRA that the HyperLoRA"):
        load_identity(lora)
    Slider(((people["obama"], people["biden"]),)).save(tmp_path / "slider.safetensors")
    with pytest.raises(HyperLoRAError, match="not an identity but a slider"):
        load_identity(tmp_path / "slider.safetensors")
    with pytest.raises(HyperLoRAError, match="there is no file"):
        load_identity(tmp_path / "absent.safetensors")


def test_an_empty_identity_is_not_saved(people, tmp_path):
    with pytest.raises(HyperLoRAError, match="nothing to save"):
        save_identity(replace(people["obama"], id_rows=None, base_rows=None), tmp_path / "empty.safetensors")


def test_an_identity_of_another_checkpoint_names_both(people, network):
    other = replace(people["obama"], checkpoint=Source("elsewhere", "0123456789abcdef"))
    with pytest.raises(HyperLoRAError, match=r"'elsewhere' \(0123456789\).*'hyperlora_demo'"):
        generate(network, other)
    for together in (lambda a, b: join([a, b]), lambda a, b: blend(a, b, 0.5), lambda a, b: Slider(((a, b),))):
        with pytest.raises(HyperLoRAError, match=r"two HyperLoRAs, 'hyperlora_demo' .* and 'elsewhere'"):
            together(people["obama"], other)


# --- photos of one person ---


def test_single_photos_joined_are_photos_encoded_together(people, three, network):
    joined = join([people[name] for name in ONE_PERSON])
    assert joined.photos == three.photos and torch.equal(joined.embeds, three.embeds)
    for ways in (joined, weighted(joined, (2, 2, 2))):
        found = difference(generate(network, ways, 0.8, 0.0), generate(network, three, 0.8, 0.0))
        assert found <= 1e-5, found


def test_weights_are_of_the_unscaled_rows(three, people, network):
    first = weighted(three, (1, 0, 0))
    assert difference(generate(network, first, 1.0, 0), generate(network, people["obama"], 1.0, 0)) <= 1e-5
    twice = weighted(join([people["obama"], people["obama2"]]), (2, 1))
    thrice = join([people["obama"], people["obama"], people["obama2"]])
    assert difference(generate(network, twice, 1.0, 0), generate(network, thrice, 1.0, 0)) <= 1e-5
    assert difference(generate(network, weighted(three, (1, 0, 1)), 1.0, 0), generate(network, three, 1.0, 0)) > 1e-3


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1, 1), (0, 0, 0), (1, -1, 1), (1, float("nan"), 1)])
def test_weights_that_do_not_fit_are_refused(three, weights):
    with pytest.raises(HyperLoRAError, match="weights"):
        weighted(three, weights)


def test_the_photo_of_another_person_is_dropped_and_told(people):
    mixed = join([people[name] for name in ("obama", "biden", "obama2", "obama3")])
    agreements = agreement(mixed)
    assert min(agreements) == agreements[1] and max(agreements) < 0.8
    said: list[str] = []
    left = without_outliers(mixed, 0.4, said.append)
    assert left.photos == tuple(people[name].photos[0] for name in ONE_PERSON)
    assert torch.equal(left.id_rows, join([people[name] for name in ONE_PERSON]).id_rows)
    assert len(said) == 1 and said[0].startswith("dropped photo 2 of 4")
    assert without_outliers(left, 0.4, said.append).refs == 3 and len(said) == 1


def test_of_two_photos_that_disagree_both_are_kept(people):
    said: list[str] = []
    assert without_outliers(join([people["obama"], people["biden"]]), 0.4, said.append).refs == 2
    assert "photo 1 and photo 2" in said[0] and "both are kept" in said[0]
    assert without_outliers(people["obama"], 0.4, said.append) is people["obama"] and len(said) == 1


def test_weights_go_with_their_photos(people):
    mixed = weighted(join([people[name] for name in ("obama", "biden", "obama2", "obama3")]), (1, 2, 3, 4))
    assert without_outliers(mixed, 0.4, lambda _: None).weights == (1, 3, 4)
    with pytest.raises(HyperLoRAError, match="whose weight is not 0"):
        without_outliers(weighted(mixed, (0, 1, 0, 0)), 0.4, lambda _: None)


def test_photos_cannot_be_compared_without_embeddings_of_one_embedder(people):
    other = replace(people["obama2"], embedder=replace(people["obama2"].embedder, sha256="0" * 64))
    for identity in (join([people["obama"], other]), replace(people["obama"], embeds=None)):
        with pytest.raises(HyperLoRAError, match="no face embeddings"):
            agreement(identity)


# --- between two people ---


@pytest.mark.long
@pytest.mark.parametrize("method", ["linear", "spherical"])
def test_a_blend_goes_from_one_person_to_the_other(people, network, method):
    one, other = people["obama"], people["biden"]
    for amount, end in ((0.0, one), (1.0, other)):
        found = difference(generate(network, blend(one, other, amount, method)), generate(network, end))
        assert found <= 1e-5, found
    distances = [
        difference(generate(network, one), generate(network, blend(one, other, amount, method)))
        for amount in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    assert distances == sorted(distances) and distances[0] < 0.5 * distances[-1]


def test_the_linear_middle_is_the_mean_of_both(people, network):
    middle = blend(people["obama"], people["biden"], 0.5)
    both = join([people["obama"], people["biden"]])
    assert difference(generate(network, middle), generate(network, both)) <= 1e-5


def test_the_spherical_way_keeps_the_angle_even(people):
    one, other = people["obama"], people["biden"]

    def rows(amount):
        return torch.nn.functional.normalize(blend(one, other, amount, "spherical").id_rows[0].double(), dim=-1)

    whole, half = ((rows(0.0) * rows(amount)).sum(-1).clamp(-1, 1).acos() for amount in (1.0, 0.5))
    wide = whole > 1e-2
    assert wide.float().mean() > 0.9
    torch.testing.assert_close(half[wide], whole[wide] / 2, rtol=1e-3, atol=1e-4)


def test_parts_are_blended_by_themselves(people):
    one, other = people["obama"], people["biden"]
    mixed = blend(one, other, 1.0, blocks=BlockStrengths({"attn1": 0.0, "to_v": 0.5})).id_rows[0]
    for i, name in enumerate(one.attentions):
        rows = slice(8 * i, 8 * i + 8)
        if name.endswith("attn1"):
            assert torch.equal(mixed[rows], one.id_rows[0][rows])
        else:
            expected = other.id_rows[0][rows].clone()
            expected[4:6] = (expected[4:6] + one.id_rows[0][rows][4:6]) / 2
            torch.testing.assert_close(mixed[rows], expected, rtol=1e-5, atol=1e-5)


def test_a_part_that_one_person_lacks_is_the_others(people):
    without = replace(people["biden"], base_rows=None)
    mixed = blend(people["obama"], without, 0.5)
    assert torch.equal(mixed.base_rows, people["obama"].base_rows)
    with pytest.raises(HyperLoRAError, match="'cubic' is unknown: one of linear, spherical"):
        blend(people["obama"], without, 0.5, "cubic")
    with pytest.raises(HyperLoRAError, match=r"'up\.9'"):
        blend(people["obama"], without, 0.5, blocks=BlockStrengths({"up.9": 1.0}))


# --- blocks ---


def test_a_lora_is_scaled_by_its_blocks(people, network):
    lora = generate(network, people["obama"])
    blocks = BlockStrengths.parse("attn2: 0.5, up = 2\n# nothing\ndown.1 = 0 # off\n", {"mid": 1.0})
    plain, scaled = deltas(lora), deltas(lora.scaled(blocks))
    assert not any(name.startswith("down_blocks.1.") for name in scaled)
    assert len(scaled) == sum(not name.startswith("down_blocks.1.") for name in plain)
    for name, delta in scaled.items():
        factor = (0.5 if "attn2" in name else 1) * (2 if name.startswith("up_blocks") else 1)
        torch.testing.assert_close(delta, factor * plain[name])
    assert lora.scaled(blocks).uuid == lora.scaled(blocks).uuid != lora.uuid


@pytest.mark.parametrize("text", ["up", "up = strong", "= 1", "up = nan", "up = inf"])
def test_blocks_that_cannot_be_read_are_named(text):
    with pytest.raises(HyperLoRAError, match="block"):
        BlockStrengths.parse(text)


def test_a_block_that_nothing_is_in_is_named(people, network):
    with pytest.raises(HyperLoRAError, match=r"'transformer_blocks\.9'"):
        generate(network, people["obama"]).scaled(BlockStrengths({"transformer_blocks.9": 0.5}))


# --- sliders ---


@pytest.fixture(scope="module")
def slider(people):
    return Slider(((people["obama"], people["biden"]),))


def test_a_slider_is_the_exact_difference_of_weight_changes(slider, people, network):
    lora = generate_slider(network, slider)
    sides = [deltas(generate(network, people[name], 1.0, 0.0)) for name in ("obama", "biden")]
    differences = {name: sides[0][name] - sides[1][name] for name in sides[0]}
    scale = lora.norm / torch.stack([delta.square().sum() for delta in differences.values()]).sum().sqrt()
    for name, delta in deltas(lora).items():
        torch.testing.assert_close(delta, scale * differences[name], rtol=1e-4, atol=1e-5)
    assert lora.rank == 16


@pytest.mark.parametrize("older", [False, True])
def test_a_saved_slider_lora_is_a_lora(slider, network, tmp_path, older):
    """Files of before this had the mark that sliders' own files have."""
    made = generate_slider(network, slider)
    made.metadata |= {kinds.SLIDER_KEY: "1"} if older else {}
    path = made.save(tmp_path / "slider.safetensors")
    kind = kinds.recognise(path)
    assert kind is not None and kind.opens_as(kinds.LORA) and "a LoRA that the HyperLoRA" in kind.name
    assert inspect(path)[1]
    with pytest.raises(HyperLoRAError, match="is not a slider but a LoRA"):
        Slider.load(path)


def test_turned_round_it_is_its_negative(slider, network):
    turned = generate_slider(network, Slider(tuple((less, more) for more, less in slider.pairs)))
    forth = generate_slider(network, slider)
    back, plain = deltas(turned), deltas(forth)
    largest = max(float(delta.abs().max()) for delta in plain.values())
    found = max(float((back[name] + plain[name]).abs().max()) for name in plain) / largest
    assert found <= 1e-6, found
    assert difference(turned, forth) > 0.1, "a difference of coefficients would be even in their sign"


def test_at_one_it_has_the_mean_norm_of_its_people(slider, people, network):
    norms = [generate(network, people[name], 1.0, 0.0).norm for name in ("obama", "biden")]
    assert generate_slider(network, slider).norm == pytest.approx(sum(norms) / 2, rel=1e-4)


def test_pairs_are_averaged(people, network):
    pairs = ((people["obama"], people["biden"]), (people["obama2"], people["astronaut"]))
    lora = generate_slider(network, Slider(pairs))
    assert lora.rank == 32
    singles = []
    for more, less in pairs:
        sides = [deltas(generate(network, side, 1.0, 0.0)) for side in (more, less)]
        singles.append({name: sides[0][name] - sides[1][name] for name in sides[0]})
    name = next(iter(singles[0]))
    mean = (singles[0][name] + singles[1][name]) / 2
    found = deltas(lora)[name]
    torch.testing.assert_close(found / found.norm(), mean / mean.norm(), rtol=1e-4, atol=1e-5)


def test_a_slider_survives_its_file(slider, people, network, tmp_path):
    two = Slider((*slider.pairs, (people["obama2"], people["biden"])))  # one person twice
    back = Slider.load(two.save(tmp_path / "slider.safetensors"))
    assert back.cache_key == two.cache_key
    assert [one.photos for one in back.people] == [one.photos for one in two.people]
    assert difference(generate_slider(network, back), generate_slider(network, two)) == 0


def test_sliders_that_cannot_be_are_refused(people, network, tmp_path):
    with pytest.raises(HyperLoRAError, match="at least one pair"):
        Slider(())
    with pytest.raises(HyperLoRAError, match="'less' of pair 1 has no ID part"):
        Slider(((people["obama"], replace(people["biden"], id_rows=None)),))
    with pytest.raises(HyperLoRAError, match="two sides of this slider are the same"):
        generate_slider(network, Slider(((people["obama"], people["obama"]),)))
    path = Slider(((people["obama"], people["biden"]),)).save(tmp_path / "slider.safetensors")
    tensors, metadata = load_file(path), dict(open_safetensors(path).metadata)
    for count in ("2", "0", "many", "99999"):
        save_file(tensors, path, metadata | {"hyperlora.pairs": count})
        with pytest.raises(HyperLoRAError, match=r"slider\.safetensors"):
            Slider.load(path)


def test_a_thumbnail_is_the_face(people):
    picture = people["astronaut"].thumbnail
    assert isinstance(picture, Image.Image) and picture.size == (256, 256) and picture.mode == "RGB"
