"""Samples of a training set: which, how often, and what of them reaches the network."""

import copy
import pickle
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, DiffusionPipeline

from hyperlora_core import ClipVision, HyperLoRAError
from hyperlora_core.data.shards import Sample, Shards
from hyperlora_core.doors.diffusers.base_model import NAMED, BaseModel
from hyperlora_core.doors.diffusers.unet import attention_modules
from hyperlora_core.doors.diffusers.unets import UNETS
from hyperlora_core.training import counter
from hyperlora_core.training.config import RECIPES, Scenario
from hyperlora_core.training.framing import draw_frame
from hyperlora_core.training.loop import passes
from hyperlora_core.training.portraits import Portraits, PortraitTask
from hyperlora_core.training.shape import NetworkShape
from tests.training.small_base import make_sd15

BOTH = frozenset({"id", "base"})
CONFIG = replace(RECIPES["id_clip"], resolution=64, mixed_precision="no", workers=0, batch=2, samples_per_step=4)


@pytest.fixture
def shards(training_set):
    return Shards(training_set)


@pytest.fixture(scope="module")
def base(base_folder):
    return BaseModel.load(str(base_folder), "cpu", torch.float32)


@pytest.fixture(scope="module")
def clip(clip_file):
    return ClipVision.load(clip_file)


def task(base, clip, shards, config=CONFIG):
    network = NetworkShape(bases=4, dim=32, heads=1, depth=1, clip_width=64).config(attention_modules(base.unet))
    return PortraitTask(base, clip, shards, network, config, BOTH)


def test_every_picture_of_a_set_comes_as_often_and_without_end(shards):
    portraits = Portraits(shards, CONFIG, None, BOTH)
    assert [portraits[number].place for number in range(8)] == [portraits.place(number) for number in range(8)]
    drawn = Counter(portraits.place(number) for number in range(20_000))
    assert set(drawn) == set(range(5))
    spread = sum((count - 4000) ** 2 / 4000 for count in drawn.values())
    assert spread < 18.5, "chi squared of 4 degrees of freedom, at one in a thousand"


@pytest.mark.long
def test_samples_are_the_same_however_many_workers_read_them(base, clip, shards):
    def drawn(config):
        found = list(task(base, clip, shards, config).batches(passes(replace(config, steps=2), 0, 0, 1)))
        return torch.cat([batch.latents for batch in found]), found[-1]

    one, last = drawn(CONFIG)
    other, _ = drawn(replace(CONFIG, workers=2))
    single, _ = drawn(replace(CONFIG, batch=1))
    assert torch.equal(one, other) and torch.allclose(one, single, atol=1e-5)
    assert last.samples == range(6, 8) and last.latents.shape == (2, 4, 32, 32)
    assert last.conditions.id_embeds.shape == (2, 1, 512) and last.conditions.clip_tokens.shape == (2, 1, 50, 64)
    assert last.conditions.base_tokens.shape == (2, 50, 64)
    assert last.unet_inputs["added_cond_kwargs"]["time_ids"].shape == (2, 6)


@pytest.mark.long
def test_cuts_that_are_kept_are_the_ones_that_were_cut(clip, shards, monkeypatch):
    whole = replace(CONFIG, smallest_crop=1.0, references=3)
    plain = Portraits(shards, whole, clip.image_size, BOTH)
    expected = [plain[number] for number in range(20)]
    keeping = Portraits(shards, replace(whole, photo_cache=64), clip.image_size, BOTH)
    decoded = []
    photo = Sample.photo
    monkeypatch.setattr(Sample, "photo", lambda self: (decoded.append(self.key), photo(self))[1])
    for number, portrait in enumerate(expected):
        found = keeping[number]
        assert (
            torch.equal(found.target.pixels, portrait.target.pixels) and found.target.prompt == portrait.target.prompt
        )
        assert torch.equal(found.id_pictures, portrait.id_pictures) and torch.equal(found.embeds, portrait.embeds)
        assert torch.equal(found.base_picture, portrait.base_picture)
    once = len(decoded)
    assert [keeping[number].place for number in range(20)] and len(decoded) == once
    restored = pickle.loads(pickle.dumps(keeping))
    assert torch.equal(restored[0].id_pictures, expected[0].id_pictures)


def test_the_base_picture_is_the_target_with_its_face_blurred(clip, shards):
    portraits = Portraits(shards, CONFIG, clip.image_size, BOTH)
    portrait = portraits[0]
    sample = shards[portrait.place]
    box = tuple(float(edge) for edge in sample.box)
    frame = draw_frame(sample.width, sample.height, box, counter.generator(0, portrait.number, "frame"), 0.5)
    target = torch.nn.functional.interpolate(
        portrait.target.pixels[None], size=(224, 224), mode="bicubic", antialias=True
    )[0]
    blurred = portrait.base_picture * torch.tensor([0.2686, 0.2613, 0.2758])[:, None, None]
    blurred = (blurred + torch.tensor([0.4815, 0.4578, 0.4082])[:, None, None]) * 2 - 1
    change = (target - blurred).abs().mean(0)
    x, y = ((sample.landmarks - np.array([frame.left, frame.top])) / frame.side * 224).mean(axis=0).round().astype(int)
    near = change[max(y - 15, 0) : y + 15, max(x - 15, 0) : x + 15].mean()
    assert near > 3 * change[:20, :20].mean()


def test_references_are_the_target_or_others_of_the_person(shards):
    by_key = {shards[i].key: i for i in range(len(shards))}
    obama, alone = by_key["obama"], by_key["astronaut"]

    def chosen(config, place):
        portraits = Portraits(shards, config, None, BOTH)
        return {tuple(portraits._references(number, place)) for number in range(60)}

    assert chosen(CONFIG, obama) == {(obama,)}
    others = {by_key["obama2"], by_key["obama3"]}
    assert chosen(replace(CONFIG, other_photo=True), obama) == {(place,) for place in others}
    assert chosen(replace(CONFIG, other_photo=True), alone) == {(alone,)}
    several = chosen(replace(CONFIG, references=3), obama)
    assert {len(each) for each in several} == {1, 2, 3} and all(each[0] == obama for each in several)
    assert chosen(replace(CONFIG, references=3), alone) == {(alone,)}


@pytest.mark.long
def test_padding_is_told_from_photos(base, clip, shards):
    config = replace(CONFIG, references=3)
    made = task(base, clip, shards, config)
    drawn = [made.portraits[number] for number in range(30)]
    one = next(each for each in drawn if len(each.embeds) == 1)
    three = next(each for each in drawn if len(each.embeds) == 3)
    conditions = made.conditions([one, three])
    assert conditions.present.tolist() == [[1, 0, 0], [1, 1, 1]]
    alone = made.conditions([three])
    assert torch.allclose(conditions.clip_tokens[1], alone.clip_tokens[0], atol=1e-5)
    assert not conditions.clip_tokens[0, 1:].any() and not conditions.id_embeds[0, 1:].any()


def test_prompts_have_the_trigger_words_where_the_scenario_says(shards):
    scenarios = (Scenario(0.5, True, True, True), Scenario(0.5, False, False, False))
    config = replace(CONFIG, scenarios=scenarios, caption_dropout=0.5)
    portraits = Portraits(shards, config, None, BOTH)
    seen = Counter()
    for portrait in map(portraits.__getitem__, range(60)):
        caption = shards[portrait.place].caption
        assert portrait.target.prompt in ("", caption, "fcsks fxhks fhyks", f"fcsks fxhks fhyks, {caption}")
        assert portrait.id_on == portrait.base_on == portrait.target.prompt.startswith("fcsks")
        seen[portrait.target.prompt.startswith("fcsks"), "portrait" in portrait.target.prompt] += 1
    assert len(seen) == 4


def test_a_broken_sample_gives_way_to_the_next(shards, monkeypatch, caplog):
    portraits = Portraits(shards, CONFIG, None, BOTH)
    place = portraits[7].place
    whole = Shards.__getitem__

    def broken(self, at):
        sample = whole(self, at)
        return replace(sample, picture=sample.picture[:100]) if at == place else sample

    monkeypatch.setattr(Shards, "__getitem__", broken)
    assert portraits[7].place == (place + 1) % len(shards)
    assert "cannot be read" in caplog.text and shards[place].key in caplog.text


@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_that_is_broken_throughout_is_said_whoever_reads_it(base, clip, shards, monkeypatch, workers):
    whole = Shards.__getitem__
    reading = task(base, clip, shards, replace(CONFIG, workers=workers))
    monkeypatch.setattr(Shards, "__getitem__", lambda self, at: replace(whole(self, at), picture=b"no picture"))
    with pytest.raises(HyperLoRAError, match=r"^5 samples in a row of .* are broken"):
        next(iter(reading.batches(iter([range(2)]))))


def test_stable_diffusion_one_five_is_told_no_size(tmp_path, comfyui_path, clip, shards):
    base = BaseModel.load(str(make_sd15(tmp_path, comfyui_path)), "cpu", torch.float32)
    batch = next(iter(task(base, clip, shards).batches(iter([range(2)]))))
    assert set(batch.unet_inputs) == {"encoder_hidden_states"}
    with torch.no_grad():
        predicted = base.unet(batch.latents, torch.tensor([1, 2]), **batch.unet_inputs).sample
    assert predicted.shape == batch.latents.shape


def test_latents_come_back_as_the_picture_they_are_of(base):
    """The VAE is random: its own way there and back is what is compared with."""
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    latents = base.latents(pixels, torch.zeros(2, *base.latent_shape(64, 64)))
    expected = base.pipeline.vae.encode(pixels).latent_dist.mean * base.pipeline.vae.config.scaling_factor
    assert torch.allclose(latents, expected)


def test_latents_of_a_vae_that_is_sure_are_what_it_says(base):
    sure = copy.copy(base)
    sure.pipeline = SimpleNamespace(vae=AutoencoderTiny(scaling_factor=0.5), vae_scale_factor=8)
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    latents = sure.latents(pixels, torch.randn(2, *sure.latent_shape(64, 64)))
    assert torch.equal(latents, sure.pipeline.vae.encode(pixels).latents * 0.5)
    assert torch.allclose(sure.pictures(latents), sure.pipeline.vae.decode(latents / 0.5).sample)


def test_captions_that_are_kept_are_encoded_once(base_folder, monkeypatch):
    keeping = BaseModel.load(str(base_folder), "cpu", torch.float32)
    sizes = torch.tensor([[64, 64, 0, 0, 64, 64]] * 3)
    expected = keeping.unet_inputs(["a man", "a woman", "a man"], sizes)
    asked = []
    encode = keeping.pipeline.encode_prompt
    monkeypatch.setattr(
        keeping.pipeline, "encode_prompt", lambda texts, **rest: (asked.extend(texts), encode(texts, **rest))[1]
    )
    keeping.captions.limit = 1 << 20
    for _ in range(2):
        found = keeping.unet_inputs(["a man", "a woman", "a man"], sizes)
        assert torch.equal(found["encoder_hidden_states"], expected["encoder_hidden_states"])
        pooled = [each["added_cond_kwargs"]["text_embeds"] for each in (found, expected)]
        assert torch.equal(*pooled)
    assert asked == ["a man", "a woman"]


def test_latents_that_are_kept_are_encoded_once_and_drawn_anew(base_folder, monkeypatch):
    keeping = BaseModel.load(str(base_folder), "cpu", torch.float32)
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noises = torch.randn(2, 3, *keeping.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))
    expected = [keeping.latents(pixels, noise) for noise in noises]
    assert not torch.equal(*expected)
    asked = []
    encode = keeping.pipeline.vae.encode
    monkeypatch.setattr(
        keeping.pipeline.vae, "encode", lambda pictures: (asked.append(len(pictures)), encode(pictures))[1]
    )
    keeping.encodings.limit = 1 << 20
    assert torch.allclose(keeping.latents(pixels[:2], noises[0][:2]), expected[0][:2], atol=1e-5)
    for noise, latents in zip(noises, expected, strict=True):
        assert torch.allclose(keeping.latents(pixels, noise), latents, atol=1e-5)
    assert asked == [2, 1]


def test_the_vae_and_sizes_stay_whole_in_half_precision(base, base_folder):
    half = BaseModel.load(str(base_folder), "cpu", torch.bfloat16)
    assert half.unet.dtype == torch.bfloat16
    whole = dict(base.pipeline.vae.named_parameters())
    assert all(torch.equal(value, whole[name]) for name, value in half.pipeline.vae.named_parameters())
    latents = torch.randn(1, *base.latent_shape(64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(half.pictures(latents), base.pictures(latents))
    sizes = torch.tensor([[1365, 2731, 307, 0, 1024, 1024]])
    assert torch.equal(half.unet_inputs(["a man"], sizes)["added_cond_kwargs"]["time_ids"], sizes.float())
    (picture,) = half.draw(["a man"], [0], (64, 64), steps=2)
    assert picture.size == (64, 64)


def test_base_models_have_short_names(monkeypatch):
    asked = []

    def from_pretrained(name, **given):
        asked.append(name)
        raise OSError("no network")

    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", from_pretrained)
    for name in UNETS:
        with pytest.raises(HyperLoRAError, match=f"the base model {NAMED[name]} cannot be loaded"):
            BaseModel.load(name, "cpu", torch.float32)
    assert asked == list(NAMED.values()) and set(UNETS) == set(NAMED)


def test_a_folder_that_is_no_base_model_is_told(tmp_path):
    with pytest.raises(HyperLoRAError, match="no base model was named"):
        BaseModel.load("", "cpu", torch.float32)
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(HyperLoRAError, match="cannot be loaded"):
        BaseModel.load(str(tmp_path), "cpu", torch.float32)
