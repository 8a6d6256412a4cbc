"""Real photos in an album, real face models, and one Ray for all tests of a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperlora_core import FaceAnalyzer
from hyperlora_core.data.checks import Checker, Limits
from tests.data import album as album_source


@pytest.fixture(scope="session")
def analyzer(face_pack) -> FaceAnalyzer:
    return FaceAnalyzer.load(face_pack)


@pytest.fixture(scope="session")
def checker(analyzer) -> Checker:
    return Checker(analyzer, Limits())


@pytest.fixture(scope="session")
def album(photos, tmp_path_factory) -> Path:
    return album_source.make(tmp_path_factory.mktemp("album"), photos)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A Ray with room for two workers, that each preparation of this process uses."""
    from hyperlora_core.data.engine import Cluster, Engine

    engine = Engine(Cluster(workers=2))
    with engine:
        engine.begin()
        yield
