"""Files: what is read, and what is said of a file that is something else."""

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from hyperlora_core import files
from hyperlora_core.errors import HyperLoRAError

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "b": torch.tensor(7.0),
    "c": torch.zeros(0, 4),
}
WHOLE = save(TENSORS)


def with_header(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    ("name", "clutter"),
    [
        ("._anna.jpg", True),
        (".anna.safetensors.0123abcd.part", True),
        (".anna.safetensors", True),
        ("THUMBS.DB", True),
        ("desktop.ini", True),
        ("__MACOSX/anna/1.jpg", True),
        ("packs\\__MACOSX\\x.onnx", True),
        ("@eaDir/1.jpg", True),
        (".git/x", True),
        ("anna.jpg", False),
        ("a.b/._", True),
        ("v1.5/anna.x.jpg", False),
        ("../anna.jpg", False),
        ("_anna.jpg", False),
    ],
)
def test_what_nobody_means_is_told_by_its_name(name, clutter):
    assert files.is_clutter(name) is clutter


def test_reads_what_safetensors_wrote(path: Path) -> None:
    save_file(TENSORS, path, metadata={"made": "here"})
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in files.open_safetensors(path).tensors.items()}
    assert found == {"a.weight": ("F16", (2, 3)), "b": ("F32", ()), "c": ("F32", (0, 4))}
    assert files.open_safetensors(str(path)).metadata == {"made": "here"}
    loaded = files.open_safetensors(path).load()
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in TENSORS.items())
    assert torch.equal(files.open_safetensors(path).tensor("a.weight"), TENSORS["a.weight"])


def test_no_metadata_is_empty(path: Path) -> None:
    save_file(TENSORS, path)
    assert files.open_safetensors(path).metadata == {}


def test_a_file_without_tensors_is_one(path: Path) -> None:
    path.write_bytes(save({}))
    assert files.open_safetensors(path).load() == {}


def test_a_header_of_640_bytes_is_no_pickle(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode().ljust(640)
    path.write_bytes(with_header(header, b"\x05"))
    assert path.read_bytes().startswith(b"\x80\x02")
    assert files.open_safetensors(path).load()["a"].tolist() == [5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"<HTML><body>404</body></HTML>", "web page"),
        (b"PK\x03\x04" + bytes(100), "zip or pickle"),
        (pickle.dumps({"weight": [0.0]}, protocol=2), "zip or pickle"),
        (pickle.dumps({"weight": [0.0]}), "zip or pickle"),
        (bytes(4096), "did not finish"),
        (b"Entry not found", "not a safetensors file"),
        (WHOLE[:5], "not a safetensors file"),
        (WHOLE[:20], "cut short within its header"),
        (WHOLE[:-1], "cut short, [0-9,]+ of [0-9,]+ bytes"),
        (WHOLE + b"\0", "1 bytes longer"),
        (struct.pack("<Q", 1 << 40) + b"{" + bytes(100), "not a safetensors file"),
        (with_header(b"{not json"), "broken safetensors"),
        (with_header(b'{"a": "\xff"}'), "broken safetensors"),
        (with_header(b'{"a": 3}'), "broken safetensors"),
        (
            with_header(b'{"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}', bytes(8)),
            "broken safetensors",
        ),
        (with_header(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": []}}'), "broken safetensors"),
        (
            with_header(b'{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}', bytes(8)),
            "broken safetensors",
        ),
        (
            with_header(b'{"a": {"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}}', bytes(8)),
            "cannot be read as",
        ),
    ],
)
def test_names_what_a_wrong_file_is(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(HyperLoRAError, match=message) as caught:
        files.open_safetensors(path).load()
    assert str(path) in str(caught.value)


def test_names_a_missing_file_and_a_folder(path: Path) -> None:
    with pytest.raises(HyperLoRAError, match=r"there is no file .*model\.safetensors"):
        files.open_safetensors(path)
    with pytest.raises(HyperLoRAError, match="is a folder"):
        files.open_safetensors(path.parent)


def test_a_tensor_that_is_not_there(path: Path) -> None:
    save_file(TENSORS, path)
    with pytest.raises(HyperLoRAError, match=r"d\.weight"):
        files.open_safetensors(path).tensor("d.weight")
