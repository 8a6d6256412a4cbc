"""The weights in the repository: whole, small, and told of where they are not."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from demo.cache import SetupError
from demo.trained import folders

_MOST = 25 * 2**20


def test_they_are_whole_small_and_in_half_precision():
    files = sorted(folders.WEIGHTS.rglob("*.safetensors"))
    assert sum(file.stat().st_size for file in files) < _MOST
    names = {file.relative_to(folders.WEIGHTS).as_posix() for file in files}
    assert names == json.loads(folders.SUMS.read_text()).keys()
    for file in files:
        assert {value.dtype for value in load_file(file).values()} == {torch.float16}
        folders.check(file)


@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_a_file_that_is_not_whole_is_named_with_what_to_do(tmp_path, monkeypatch, fault):
    weights = tmp_path / "demo" / "weights"
    shutil.copytree(folders.WEIGHTS, weights)
    monkeypatch.setattr(folders, "WEIGHTS", weights)
    monkeypatch.setattr(folders, "SUMS", weights / folders.SUMS.name)
    file = weights / folders.VAE.name
    if fault == "missing":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    with pytest.raises(SetupError) as error:
        folders.check(file)
    assert str(error.value) == f"{file} is {fault}: get it again with git checkout -- demo/weights/vae.safetensors"


def test_kept_weights_lose_little_and_once():
    value = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    stored = folders.as_kept(value)
    assert stored.dtype == torch.float16 and ((stored - value).abs() <= value.abs() * 2**-6.9 + 1e-6).all()
    assert torch.equal(folders.as_kept(stored), stored) and (stored.view(torch.int16) % 16 == 0).all()
    assert torch.equal(folders.as_kept(value[0]), value[0].half()), "norms and biases are whole"
