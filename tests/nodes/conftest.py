"""The nodes' schemas, without a server."""

import pytest

from tools import schemas


@pytest.fixture(scope="session")
def object_info() -> dict[str, dict]:
    """Node id -> what ComfyUI's server tells the editor about the node."""
    return schemas.object_info()
