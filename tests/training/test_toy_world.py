"""The toy world: what its pictures show is known, its runs are the real loop's, its report tells what is measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.toy_world import measuring, personal, variants
from benchmarks.toy_world.__main__ import Job, jobs, work
from benchmarks.toy_world.base import PATCH, Base, latents_of, objective, pictures_of
from benchmarks.toy_world.base_training import Recipe
from benchmarks.toy_world.base_training import train as train_base
from benchmarks.toy_world.encoders import FaceEncoder, Judge, TokenEncoder
from benchmarks.toy_world.people import SEED, people
from benchmarks.toy_world.readings import Reading, Truth, correlation, leak, nrmse, obey
from benchmarks.toy_world.recipe import recipe_hash
from benchmarks.toy_world.report import write
from benchmarks.toy_world.runs import checkpoint_of, folder_of, train
from benchmarks.toy_world.sampling import draw_plain, draw_with
from benchmarks.toy_world.task import ToyTask, World, uniforms
from benchmarks.toy_world.words import TOKENS, VOCABULARY, captions, prompts
from benchmarks.toy_world.world import IDENTITY, SCENE_DRAWS, background_of, photos, scenes, without_face
from hyperlora_core.doors.diffusers.unet import attention_modules
from hyperlora_core.network.hyperlora import HyperLoRA
from hyperlora_core.training import counter
from hyperlora_core.training.export import export
from hyperlora_core.training.forward import Conditions
from hyperlora_core.training.fresh import fresh

COUNT = 6


def drawn(count=64, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    return torch.rand(count, len(IDENTITY), generator=numbers), scenes(
        torch.rand(count, SCENE_DRAWS, generator=numbers)
    )


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    base = Base((32, 64)).requires_grad_(False).eval()
    return World(base, *(each().requires_grad_(False).eval() for each in (FaceEncoder, TokenEncoder)))


@pytest.fixture(scope="module")
def reader():
    torch.manual_seed(1)
    return Judge().requires_grad_(False).eval()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERLORA_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("parameter", IDENTITY)
def test_each_parameter_is_seen_in_the_picture(parameter):
    identity, scene = drawn(16)
    low, high = identity.clone(), identity.clone()
    low[:, IDENTITY.index(parameter)], high[:, IDENTITY.index(parameter)] = 0.1, 0.9
    changed = (photos(low, scene) - photos(high, scene)).abs().amax(dim=1) > 0.1
    assert changed.sum(dim=(1, 2)).float().mean() > 8


def test_the_corners_tell_the_background_whoever_is_there():
    identity, scene = drawn()
    others, _ = drawn(seed=1)
    assert torch.equal(background_of(photos(identity, scene)), background_of(photos(others, scene)))


def test_no_face_is_left_where_it_is_greyed():
    identity, scene = drawn()
    others, _ = drawn(seed=1)
    one, other = (without_face(photos(each, scene), scene) for each in (identity, others))
    assert (one - other).abs().amax(dim=1).flatten(1).gt(0.1).float().mean() < 0.02


def test_pictures_are_latents_and_back():
    pictures = photos(*drawn(4))
    assert latents_of(pictures).shape == (4, 3 * PATCH**2, 8, 8)
    torch.testing.assert_close(pictures_of(latents_of(pictures)), pictures)


def test_prompts_say_nothing_of_the_person():
    identity, scene = drawn(8)
    said = torch.ones(8, dtype=torch.bool)
    words = prompts(scene.background, scene.clothing, said, said)
    whole = captions(identity, scene, torch.ones(8, TOKENS, dtype=torch.bool))
    assert torch.equal(words[:, :3], whole[:, :3]) and not words[:, 3:].any()
    assert whole.max() < VOCABULARY and len(whole.unique()) <= VOCABULARY


def test_the_unet_tells_its_clean_picture_as_a_velocity(parts):
    clean, noise = torch.randn(2, 4, 48, 8, 8).unbind()
    times = torch.tensor([100, 400, 700, 990])
    noising = objective()
    latents = noising.noised(clean, noise, times)
    words = torch.zeros(4, TOKENS, dtype=torch.long)
    own = super(type(parts.base.unet), parts.base.unet).forward(latents, times, parts.base.words(words)).sample
    implied_noise = (latents - own * noising.alphas_cumprod[times].sqrt()[:, None, None, None]) / (
        1 - noising.alphas_cumprod[times]
    ).sqrt()[:, None, None, None]
    torch.testing.assert_close(
        parts.base(latents, times, words), noising.target(own, implied_noise, times), atol=1e-3, rtol=1e-3
    )


def test_a_stopped_base_goes_on_as_if_it_had_not_been(tmp_path):
    recipe = Recipe(steps=4, batch=2, warmup=1, save_every=2)

    def run(folder, recipe):
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        return train_base(folder, Base((32, 64)), recipe)

    class Stop(Exception):
        pass

    whole = run(tmp_path / "whole", recipe).read_bytes()
    with pytest.MonkeyPatch.context() as patched:
        counted = iter(range(3))

        def stopping(*args, **kwargs):
            if next(counted, None) is None:
                raise Stop
            return original(*args, **kwargs)

        original = torch.nn.utils.clip_grad_norm_
        patched.setattr(torch.nn.utils, "clip_grad_norm_", stopping)
        with pytest.raises(Stop):
            run(tmp_path / "stopped", recipe)
    assert run(tmp_path / "stopped", recipe).read_bytes() == whole


def test_a_sample_follows_from_its_number(parts):
    task = ToyTask(parts, variants.full(0)[1].config())
    one, two = task.batch(range(4)), task.batch(range(2, 4))
    torch.testing.assert_close(one.latents[2:], two.latents)
    torch.testing.assert_close(one.conditions.id_embeds[2:], two.conditions.id_embeds)
    assert torch.equal(one.conditions.base_on[2:], two.conditions.base_on)


def test_the_reference_is_the_target_or_another_photo_of_the_person(parts):
    config = variants.full(0)[1].config()
    same, other = (ToyTask(parts, replace(config, other_photo=each)).batch(range(4)) for each in (False, True))
    assert torch.equal(same.latents, other.latents)
    assert torch.equal(same.conditions.base_tokens, other.conditions.base_tokens)
    assert not torch.isclose(same.conditions.clip_tokens, other.conditions.clip_tokens).all(dim=(1, 2, 3)).any()


def test_people_are_prompted_with_what_their_photos_do_not_show():
    some = people(COUNT)
    truth = Truth.of(some)
    assert (np.abs(truth.prompted_background - truth.reference_background).max(axis=1) > 0.1).all()
    assert torch.equal(some.identity, uniforms(20_000_001, range(COUNT), "person", 10))


def test_numbers_of_known_readings():
    truth = Truth.of(people(64))
    numbers = np.random.default_rng(0)
    stranger = Reading(numbers.permutation(truth.identity), truth.prompted_background, truth.prompted_background)
    same = Reading(truth.identity, truth.reference_background, truth.reference_background)
    guess = Reading(np.full((64, 10), 0.5), truth.reference_background, truth.reference_background)
    assert nrmse([same], truth, "all").value == 0 and correlation([same], truth, "all").value == pytest.approx(1)
    assert nrmse([guess], truth, "all").value == pytest.approx(1, abs=0.1)
    assert nrmse([stranger], truth, "all").value == pytest.approx(2**0.5, abs=0.12)
    assert leak([same], truth).value == pytest.approx(1) and obey([stranger], truth).value == pytest.approx(1)
    plain = np.mean([np.corrcoef(stranger.background[:, c], truth.reference_background[:, c])[0, 1] for c in range(3)])
    found = leak([stranger], truth)
    assert found.value == pytest.approx(plain, abs=1e-4) and found.low < found.value < found.high


def test_drawing_is_deterministic(parts):
    some = people(2)
    words = torch.zeros(2, TOKENS, dtype=torch.long)
    assert torch.equal(draw_plain(parts.base, words, some.noise), draw_plain(parts.base, words, some.noise))


@pytest.mark.slow
def test_legs_are_trained_exported_measured_and_reported(parts, reader, tmp_path, monkeypatch):
    first = variants.Leg("full", 0, "base", steps=2)
    second = variants.Leg("full", 0, "id_clip", first, steps=2)
    third = variants.Leg("full", 0, "id_embed", second, steps=2)
    monkeypatch.setattr(variants, "BATCH", 4)
    monkeypatch.setattr(measuring, "COUNT", COUNT)
    monkeypatch.setattr("benchmarks.toy_world.sampling.STEPS", 2)
    for module in ("measured", "report", "tables", "figures"):
        name = f"benchmarks.toy_world.{module}"
        monkeypatch.setattr(f"{name}.COUNT", COUNT, raising=False)
        monkeypatch.setattr(f"{name}.legs", lambda: [first, second, third], raising=False)
        monkeypatch.setattr(f"{name}.full", lambda seed: (first, second, third), raising=False)
    results = tmp_path / "results"
    assert "not run" in write(results).read_text()
    monkeypatch.setattr("benchmarks.toy_world.base_training.folder", lambda: tmp_path)
    measuring.measure_plain(parts, reader, COUNT, results)
    for leg in (first, second, third):
        assert train(leg, parts)
        measuring.measure(leg, parts, reader, COUNT, results)
        found = measuring.stored(leg.name, leg.recipe, results)
        assert found["steps"] == 2 and measuring.stored(leg.name, "another", results) is None
    before, after = (HyperLoRA.load(checkpoint_of(leg)).state_dict() for leg in (second, third))
    assert torch.equal(before["id_bases.bases.0.to_q.up.weight"], after["id_bases.bases.0.to_q.up.weight"])
    assert not torch.equal(before["id_projector.0.weight"], after["id_projector.0.weight"])
    assert len(np.load(folder_of(third) / measuring.PICTURES)["id"]) == COUNT
    asked = personal.Recipe(people=2, photos=2, pictures=1, marks=(0, 1, 2), rates=(1e-2,), batch=2)
    monkeypatch.setattr(personal, "full", lambda seed: (first, second, third))
    monkeypatch.setattr(personal, "Recipe", lambda: asked)
    assert personal.measure_personal(parts, reader, results=results)
    told = write(results).read_text()
    assert "| stage 3, ID |" in told and "| from nothing, 0.01 |" in told and "### " not in told


def test_a_person_is_trained_on_from_the_generated_lora_and_from_nothing(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.toy_world.sampling.STEPS", 2)
    some, asked = people(2), personal.Recipe(photos=2, pictures=2, marks=(0, 1, 3), rates=(1e-2,), batch=2)
    network = fresh(variants.SHAPE.config(attention_modules(parts.base.unet)), 0)
    for name, value in network.named_parameters():
        if ".up." in name:
            torch.nn.init.normal_(value, std=0.5, generator=torch.Generator().manual_seed(len(name)))
    export(network.config, network.state_dict(), tmp_path / "hyperlora", dtype=torch.float32)
    monkeypatch.setattr(personal, "checkpoint_of", lambda leg: tmp_path / "hyperlora")
    loras = personal.generated(parts, some)
    drawn = personal._person(1, loras[1], some, parts, asked)
    assert list(drawn) == [
        personal.way(start, 1e-2, step) for start in ("generated", "nothing") for step in asked.marks
    ]
    noise = counter.normal(SEED, range(1000, 1002), "own noise", (48, 8, 8))
    said = torch.ones(2, dtype=torch.bool)
    words = prompts(some.background[1].expand(2), some.clothing[1].expand(2), said, said)
    torch.testing.assert_close(drawn["nothing, 0.01, 0"], draw_plain(parts.base, words, noise))
    conditions = measuring.conditions_of(parts, some, 1, 0, 4)
    second = Conditions(**{k: v if v is None else v[1:].expand(2, *v.shape[1:]) for k, v in vars(conditions).items()})
    expected = draw_with(parts.base, network, second, words, noise)
    rounding, effect = ((expected - drawn[f"{each}, 0.01, 0"]).abs().mean() for each in personal.STARTS)
    assert rounding < 0.1 * effect and effect > 0.02  # drawn in bfloat16
    for start in personal.STARTS:
        before, after = (drawn[personal.way(start, 1e-2, step)] for step in (0, 3))
        assert not torch.equal(before, after)


def test_recipes_change_with_code_and_values_but_not_with_words_about_it(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.toy_world.recipe._HERE", tmp_path)

    def told(source, *values):
        (tmp_path / "some.py").write_text(source)
        return recipe_hash(("some.py",), *values)

    assert told('"""One."""\nx = 1  # one\n') == told('"""Other."""\n\nx = 1\n')
    assert len({told("x = 1"), told("x = 2"), told("x = 1", 3)}) == 3


def test_every_leg_comes_after_its_parent_and_has_a_recipe_of_its_own():
    every = variants.legs()
    for i, leg in enumerate(every):
        assert leg.parent is None or leg.parent in every[:i]
    assert len({leg.name for leg in every}) == len({leg.recipe for leg in every}) == len(every)


def test_what_is_measured_is_not_done_again(monkeypatch):
    module = "benchmarks.toy_world.__main__"
    monkeypatch.setattr(f"{module}.stored", lambda name, recipe: {})
    assert jobs() == []
    monkeypatch.setattr(f"{module}.stored", lambda name, recipe: None if name == "thawed-id_embed-0" else {})
    names = [job.name for job in jobs()]
    assert names[-3:] == ["full-base-0", "full-id_clip-0", "thawed-id_embed-0"]
    assert "full-id_embed-0" not in names


def test_jobs_wait_for_those_before_them(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.toy_world.__main__.write", lambda: None)
    log = tmp_path / "log"

    def job(name, *after):
        script = f"import pathlib, time; time.sleep(0.2); open({str(log)!r}, 'a').write('{name}\\n'); " + (
            f"pathlib.Path({str(tmp_path / name)!r}).touch()"
        )
        return Job(name, ["-c", script], (tmp_path / name).exists, after)

    assert work([job("last", "first", "second"), job("first"), job("second")], float("inf"))
    assert log.read_text().split()[-1] == "last"
    with pytest.raises(SystemExit, match="bad failed"):
        work([Job("bad", ["-c", "raise SystemExit(1)"], lambda: False)], float("inf"))
    assert not work([Job("slow", ["-c", "import time; time.sleep(60)"], lambda: False)], 0)


def test_a_measurement_is_written_whole(tmp_path):
    measuring.store("some", {"recipe": "one", "way": {"identity": [[0.1]]}}, tmp_path)
    assert json.loads((tmp_path / "some.json").read_text())["way"] == {"identity": [[0.1]]}
    assert [path.name for path in tmp_path.iterdir()] == ["some.json"]
