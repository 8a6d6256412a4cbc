"""What scores: real face models, and a small random CLIP."""

import pytest

from hyperlora_core import FaceAnalyzer, open_photo
from hyperlora_core.evaluation.clip_scores import ClipScorer
from hyperlora_core.evaluation.face_scores import FaceJudge
from tests.evaluation.towers import clip_folder


@pytest.fixture(scope="session")
def analyzer(face_pack) -> FaceAnalyzer:
    return FaceAnalyzer.load(face_pack)


@pytest.fixture(scope="session")
def judge(analyzer) -> FaceJudge:
    return FaceJudge.load(analyzer, None)


@pytest.fixture(scope="session")
def clip_path(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip") / "tower")


@pytest.fixture(scope="session")
def clip(clip_path) -> ClipScorer:
    return ClipScorer.load(clip_path)


@pytest.fixture(scope="session")
def pictures(photos):
    """Name -> real photo."""
    return {name: open_photo(path) for name, path in photos.items()}
