"""Results that are kept: bounded in bytes, by content, and never other than the computed ones."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from hyperlora_core import (
    ClipVision,
    FaceAnalyzer,
    HyperLoRA,
    encode_base,
    encode_id,
    find_references,
    generate,
    open_photo,
)
from hyperlora_core.cache import Cache, digest, size_of
from hyperlora_core.errors import NoFaceError
from hyperlora_core.faces.references import on_photos
from tests.support.models import CLIP_VISION, HYPER_LORA

MB = 1 << 20


def numbers(megabytes: float) -> torch.Tensor:
    return torch.zeros(int(megabytes * MB), dtype=torch.uint8)


def test_what_was_asked_for_longest_ago_goes_first():
    cache = Cache(4 * MB)
    for key in "abc":
        cache.get(key, lambda: numbers(1))
    cache.get("a", pytest.fail)
    cache.get("d", lambda: numbers(1))
    assert cache.nbytes <= 4 * MB and len(cache) == 3
    for key in "cad":
        cache.get(key, pytest.fail)
    computed = []
    cache.get("b", lambda: computed.append(1))
    assert computed


def test_a_smaller_limit_holds_at_once_and_what_is_larger_than_it_throws_nothing_out():
    cache = Cache(4 * MB)
    for key in "abc":
        cache.get(key, lambda: numbers(1))
    assert len(cache.get("large", lambda: numbers(5))) == 5 * MB
    assert len(cache) == 3
    cache.limit = 2 * MB
    assert len(cache) == 1 and cache.nbytes <= 2 * MB
    cache.get("c", pytest.fail)
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_several_are_found_together_and_those_that_are_missing_are_made_at_once():
    cache, requests = Cache(4 * MB), []

    def make(places: list[int]) -> list[str]:
        requests.append(places)
        return [f"made {place}" for place in places]

    cache.get("b", lambda: "kept")
    assert cache.get_all(["a", "b", "c", "a"], make) == ["made 3", "kept", "made 2", "made 3"]
    assert cache.get_all(["c", "b"], make) == ["made 2", "kept"] and requests == [[3, 2]]


def test_several_are_all_there_though_the_cache_has_no_room_for_them():
    cache = Cache(2 * MB)
    cache.get("a", lambda: numbers(1.5))
    one, other = cache.get_all(["a", "b"], lambda places: [numbers(1.9) for _ in places])
    assert (len(one), len(other)) == (int(1.5 * MB), int(1.9 * MB))
    assert Cache(0).get_all(["a", "a"], lambda places: [7 for _ in places]) == [7, 7]


def test_nothing_is_kept_without_a_limit_or_after_an_error():
    for cache in (Cache(), Cache(MB)):
        with pytest.raises(ZeroDivisionError):
            cache.get("a", lambda: 1 / 0)
        assert len(cache) == 0
    Cache().get("a", lambda: None)
    assert len(Cache()) == 0


def test_threads_get_one_object_and_the_bytes_add_up():
    cache, results = Cache(50 * MB), []

    def ask() -> None:
        for i in range(200):
            results.append(cache.get(i % 20, lambda: numbers(1)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(value) for value in results}) == 20
    assert cache.nbytes == sum(size for _, size in cache._kept.values())


def test_sizes_are_of_the_numbers():
    picture = Image.new("RGB", (10, 20))
    assert size_of([picture, np.zeros(3), {"a": torch.zeros(5)}, None, "text"]) == 600 + 24 + 20


def test_a_digest_is_of_type_shape_and_numbers():
    zeros = np.zeros((2, 3), np.float32)
    different = [zeros.T, zeros.astype(np.float64), zeros + 1, None, Image.new("RGB", (2, 3)), Image.new("RGB", (3, 2))]
    assert len({digest(value) for value in [zeros, *different]}) == 7
    assert digest(zeros, None) != digest(None, zeros)
    assert digest(torch.zeros(2, 3)) == digest(zeros.copy())


# --- the whole way ---


class Counted:
    """The demo's models, and a count of what computed."""

    def __init__(self, models, face_pack):
        self.network = HyperLoRA.load(models / "hyper_lora" / HYPER_LORA)
        self.clip = ClipVision.load(models / "clip_vision" / CLIP_VISION)
        self.analyzer = FaceAnalyzer.load(face_pack)
        self.computed: list[str] = []
        self.network.before_use = lambda part: self.computed.append(type(part).__name__)
        self.clip.before_use = lambda part: self.computed.append("CLIP")

    def __call__(self, photos, cache, **settings):
        with torch.inference_mode():
            references = find_references(self.analyzer, photos, cache=cache)
            identity, pictures = encode_id(self.network, self.clip, references, cache=cache, **settings)
            identity = identity.with_base(encode_base(self.network, self.clip, references, cache=cache)[0])
            return generate(self.network, identity, cache=cache), pictures


@pytest.fixture
def counting(models, face_pack):
    return Counted(models, face_pack)


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.long
def test_the_same_photos_again_compute_nothing_and_give_the_same(counting, photos, monkeypatch):
    cache = Cache(256 * MB)
    people = [[open_photo(photos[name])] for name in ("obama", "biden", "astronaut")]
    plain = [counting(photo, Cache())[0] for photo in people]
    first = [counting(photo, cache)[0] for photo in people]
    assert all(map(same, plain, first))
    assert cache.nbytes <= cache.limit
    counting.computed.clear()
    monkeypatch.setattr(counting.analyzer, "_detect_at", lambda *_: pytest.fail("a face was looked for again"))
    again = [counting([open_photo(photos[name])], cache)[0] for name in ("biden", "obama", "astronaut", "biden")]
    assert counting.computed == []
    assert [lora is first[i] for lora, i in zip(again, (1, 0, 2, 1), strict=True)] == [True] * 4


@pytest.mark.long
def test_whatever_the_result_depends_on_is_told_apart(counting, models, face_pack, photos, tmp_path):
    """Each of these alone computes anew, and gives what it gives without a cache."""
    cache = Cache(256 * MB)
    obama, obama2 = open_photo(photos["obama"]), open_photo(photos["obama2"])
    counting([obama], cache)
    ways = {
        "another photo": ([obama2], {}),
        "two photos": ([obama, obama2], {}),
        "the other order": ([obama2, obama], {}),
        "one pixel": ([with_another_pixel(obama)], {}),
        "grey": ([obama], {"grayscale": True}),
        "with background": ([obama], {"remove_background": False}),
    }
    for way, (photo, settings) in ways.items():
        counting.computed.clear()
        identity, pictures = counting(photo, cache, **settings)
        assert counting.computed, way
        expected, expected_pictures = counting(photo, Cache(), **settings)
        assert same(identity, expected), way
        assert pictures == expected_pictures, way


def with_another_pixel(photo: Image.Image) -> Image.Image:
    changed = photo.copy()
    red, green, blue = changed.getpixel((0, 0))
    changed.putpixel((0, 0), (red ^ 1, green, blue))
    return changed


@pytest.mark.long
def test_a_checkpoint_that_was_replaced_or_computes_elsewhere_has_results_of_its_own(counting, models):
    keys = {counting.network.cache_key, HyperLoRA.load(models / "hyper_lora" / HYPER_LORA).cache_key}
    assert len(keys) == 1
    keys.add(HyperLoRA.load(models / "hyper_lora" / HYPER_LORA, dtype=torch.bfloat16).cache_key)
    keys.add(HyperLoRA(counting.network.config).cache_key)
    keys.add(HyperLoRA(counting.network.config).cache_key)
    file = next((models / "hyper_lora" / HYPER_LORA).glob("resampler.safetensors"))
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    try:
        keys.add(HyperLoRA.load(models / "hyper_lora" / HYPER_LORA).cache_key)
    finally:
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(keys) == 5
    clips = {ClipVision.load(models / "clip_vision" / CLIP_VISION, dtype=dtype).cache_key for dtype in DTYPES}
    assert len(clips) == len(DTYPES)


DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.mark.long
def test_a_photo_without_a_face_is_refused_each_time_and_a_retouched_one_looked_at_again(counting, photos):
    cache = Cache(256 * MB)
    for _ in range(2):
        with pytest.raises(NoFaceError, match="photo 1 of 1: no face was found"):
            find_references(counting.analyzer, [Image.new("RGB", (200, 200))], cache=cache)
    photo = open_photo(photos["obama"])
    references = find_references(counting.analyzer, [photo], cache=cache)
    retouched = ImageEnhance.Brightness(photo).enhance(1.2)
    (updated,) = on_photos(counting.analyzer, references, [retouched], cache=cache)
    (expected,) = on_photos(counting.analyzer, references, [retouched])
    assert np.array_equal(updated.id_embed, expected.id_embed)
    assert not np.array_equal(updated.id_embed, references[0].id_embed)
    assert updated.photo_sha256 != references[0].photo_sha256
    assert on_photos(counting.analyzer, references, [photo.copy()], cache=cache) == references


def test_an_identity_is_told_apart_by_its_rows(counting, photos):
    cache = Cache(256 * MB)
    with torch.inference_mode():
        references = find_references(counting.analyzer, [open_photo(photos["obama"])], cache=cache)
        identity, _ = encode_id(counting.network, counting.clip, references, cache=cache)
        lora = generate(counting.network, identity, cache=cache)
        mixed = replace(identity, id_rows=identity.id_rows * 2 + 1)
        assert generate(counting.network, replace(identity, id_rows=identity.id_rows.clone()), cache=cache) is lora
        for variant, weight in ((mixed, 0.8), (identity, 0.9), (replace(identity, photos=("x",)), 0.8)):
            variant_lora = generate(counting.network, variant, weight, cache=cache)
            assert variant_lora is not lora
            expected = generate(counting.network, variant, weight)
            assert same(variant_lora, expected) and variant_lora.metadata == expected.metadata
