"""The demo's models, loaded once, and people looked at with them."""

import pytest

from hyperlora_core import ClipVision, FaceAnalyzer, HyperLoRA, encode_base, encode_id, find_references, open_photo
from tests.support.models import CLIP_VISION, HYPER_LORA

ONE_PERSON = ("obama", "obama2", "obama3")


@pytest.fixture(scope="session")
def network(models) -> HyperLoRA:
    return HyperLoRA.load(models / "hyper_lora" / HYPER_LORA)


@pytest.fixture(scope="session")
def clip(models) -> ClipVision:
    return ClipVision.load(models / "clip_vision" / CLIP_VISION)


@pytest.fixture(scope="session")
def analyzer(face_pack) -> FaceAnalyzer:
    return FaceAnalyzer.load(face_pack)


@pytest.fixture(scope="session")
def references(analyzer, photos):
    names = (*ONE_PERSON, "biden", "astronaut")
    return dict(zip(names, find_references(analyzer, [open_photo(photos[name]) for name in names]), strict=True))


@pytest.fixture(scope="session")
def identity(network, clip, references):
    """An identity of one photo, with its Base part."""
    found, _ = encode_id(network, clip, [references["obama"]])
    return found.with_base(encode_base(network, clip, [references["biden"]])[0])


@pytest.fixture(scope="session")
def people(network, clip, references):
    """Name -> an identity of one photo, with its Base part."""
    return {
        name: encode_id(network, clip, [ref])[0].with_base(encode_base(network, clip, [ref])[0])
        for name, ref in references.items()
    }
