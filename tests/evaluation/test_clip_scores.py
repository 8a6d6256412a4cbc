"""CLIP's embeddings are those that another library computes with the same numbers."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchmetrics.functional.multimodal import clip_score

from hyperlora_core import HyperLoRAError
from hyperlora_core.evaluation.clip_scores import CONFIG, WEIGHTS, ClipScorer
from hyperlora_core.evaluation.scoring import Features, score
from tests.evaluation.towers import as_transformers, clip_folder, for_torchmetrics, preparing

TEXTS = ["a man in a white shirt", "wolf ears, in the snow", "", "painting " * 9]


@pytest.fixture(scope="module")
def noises():
    numbers = np.random.default_rng(0)
    sizes = [(64, 64), (200, 90), (56, 300)]
    return [Image.fromarray(numbers.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def unit(features):
    features = features if isinstance(features, torch.Tensor) else features.pooler_output
    numbers = features.detach().numpy()
    return numbers / np.linalg.norm(numbers, axis=1, keepdims=True)


def test_pictures_and_texts_are_as_transformers_has_them(clip_path, clip, noises):
    model = as_transformers(clip_path)
    with torch.no_grad():
        theirs = unit(model.get_image_features(**preparing()(images=noises, return_tensors="pt")))
        tokens = clip._tokenizer(TEXTS)
        texts = unit(model.get_text_features(input_ids=tokens, attention_mask=torch.ones_like(tokens)))
    ours = clip.pictures(noises)
    assert ours.dtype == np.float32 and np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert (ours * theirs).sum(1).min() > 0.9999 and np.abs(ours - theirs).max() < 2e-3
    assert np.abs(clip.texts(TEXTS) - texts).max() < 1e-5
    assert np.abs(ours[0] - ours[1]).max() > 0.01  # else all of this would say nothing


def test_scores_are_as_torchmetrics_has_them(clip_path, clip, noises, comfyui_path):
    """CLIP-I against photos and against the picture without a person, and CLIP-T; torchmetrics ends at 0."""
    tower = for_torchmetrics(clip_path, comfyui_path / "comfy" / "sd1_tokenizer")
    tensors = [torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy()) for picture in noises]

    def theirs(one, other):
        return [float(clip_score(a, b, lambda: tower)) / 100 for a, b in zip(one, other, strict=True)]

    picture, photo, without = (Features(embedding, None, 0) for embedding in clip.pictures(noises))
    against = theirs([tensors[0]] * 2, tensors[1:])
    texts = [f"{word} {place}" for word in ("wolf ears", "a scarf", "") for place in ("", "by the sea", "in the snow")]
    ours = [score(picture, [photo, without], (), without, embedding) for embedding in clip.texts(texts)]
    assert ours[0].clip_i == pytest.approx(np.mean(against), abs=1e-4) and abs(against[0] - against[1]) > 0.001
    assert ours[0].clip_i_edit == pytest.approx(against[1], abs=1e-4)
    cosines = np.array([one.clip_t for one in ours])
    assert np.allclose(cosines.clip(0), theirs([tensors[0]] * len(texts), texts), atol=1e-4)
    assert (cosines > 0.01).sum() > 1 and cosines.std() > 0.001


def test_a_batch_is_its_pictures_one_by_one(clip, noises):
    many = noises * 7
    single = np.concatenate([clip.pictures([picture]) for picture in noises])
    assert np.allclose(clip.pictures(many), np.tile(single, (7, 1)), atol=1e-5)


def test_a_prompt_that_is_too_long_is_told_of(clip, caplog):
    clip.texts(["a short one"])
    assert not caplog.records
    clip.texts(["word " * 90])
    assert "reads 77 tokens" in caplog.text


def test_what_it_is_follows_from_its_weights(clip_path, clip, tmp_path):
    other = ClipScorer.load(clip_folder(tmp_path / "tower", seed=1))
    assert other.encoder.name == clip.encoder.name == "tower" and other.encoder != clip.encoder
    shutil.copytree(clip_path, tmp_path / "copy")
    assert ClipScorer.load(tmp_path / "copy").encoder == clip.encoder


def test_what_cannot_be_loaded_is_said(clip_path, tmp_path):
    with pytest.raises(HyperLoRAError, match=r"has no open_clip_config.json: hyperlora download clip-scores"):
        ClipScorer.load(tmp_path)
    with pytest.raises(HyperLoRAError, match="--device nowhere cannot be used"):
        ClipScorer.load(clip_path, "nowhere")
    broken = tmp_path / "broken"
    shutil.copytree(clip_path, broken)
    (broken / WEIGHTS).write_bytes((clip_path / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(HyperLoRAError, match=WEIGHTS):
        ClipScorer.load(broken)
    save_file(
        {name: value for name, value in load_file(clip_path / WEIGHTS).items() if "ln_post" not in name},
        broken / WEIGHTS,
    )
    with pytest.raises(HyperLoRAError, match=r"broken cannot be loaded"):
        ClipScorer.load(broken)
    (broken / CONFIG).write_text(json.dumps({"model_cfg": {"embed_dim": 3}}))
    with pytest.raises(HyperLoRAError, match=r"broken cannot be loaded"):
        ClipScorer.load(broken)
    (broken / CONFIG).write_text("{")
    with pytest.raises(HyperLoRAError, match=r"broken cannot be loaded"):
        ClipScorer.load(broken)
