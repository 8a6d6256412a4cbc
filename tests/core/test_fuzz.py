"""500 random faults in a small checkpoint: each one is told, or changes nothing."""

import json
import random
import re
import signal

import pytest
import torch

from hyperlora_core import HyperLoRA, HyperLoRAError
from hyperlora_core.network.conversion import convert
from tests.support import models as demo

FAULTS = 500
SECONDS_EACH = 10


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder of 4 MB, and the same in one file."""
    base = tmp_path_factory.mktemp("small")
    shape = demo.Shape(bases=2, dim=64, heads=1, depth=1)
    demo.make_hyper_lora(base / "folder", torch.Generator().manual_seed(0), shape)
    return base / "folder", convert(base / "folder", base / "file.safetensors")


def result(path) -> dict[str, torch.Tensor]:
    """Everything that the checkpoint makes of fixed inputs."""
    return made_by(HyperLoRA.load(path))


def made_by(network: HyperLoRA) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    embed, tokens = torch.randn(1, 512, generator=generator), torch.randn(1, 5, 64, generator=generator)
    made = {f"id.{key}": tensor for key, tensor in network.id_lora(network.id_coefficients(embed, tokens)).items()}
    base = network.base_lora(network.base_coefficients(tokens))
    return made | {f"base.{key}": tensor for key, tensor in base.items()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def header_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def flip(data: bytes, choose: random.Random) -> bytes:
    """One bit anywhere."""
    place = choose.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << choose.randrange(8))]) + data[place + 1 :]


def flip_header(data: bytes, choose: random.Random) -> bytes:
    """One bit of the header."""
    end = header_end(data)
    return flip(data[:end], choose) + data[end:]


def cut(data: bytes, choose: random.Random) -> bytes:
    """The end is missing."""
    return data[: choose.randrange(len(data))]


def cut_out(data: bytes, choose: random.Random) -> bytes:
    """A piece of the middle is missing."""
    begin = choose.randrange(len(data))
    return data[:begin] + data[begin + choose.randrange(1, 4096) :]


def zero(data: bytes, choose: random.Random) -> bytes:
    """A page is blank, as after a crash."""
    begin = choose.randrange(len(data))
    return (data[:begin] + bytes(min(4096, len(data) - begin)) + data[begin + 4096 :])[: len(data)]


def grow(data: bytes, choose: random.Random) -> bytes:
    """Something is behind the end."""
    return data + choose.randbytes(choose.randrange(1, 100))


def shape(data: bytes, choose: random.Random) -> bytes:
    """A number of the header is another, its length adjusted: the format stays right, the shapes do not."""
    end = header_end(data)
    text = data[8:end].decode()
    match = choose.choice(list(re.finditer(r"\d+", text)))
    number = choose.choice([0, 1, int(match[0]) + 1, int(match[0]) * 2, 2**63, -1])
    edited = (text[: match.start()] + str(number) + text[match.end() :]).encode()
    return len(edited).to_bytes(8, "little") + edited + data[end:]


def swap(data: bytes, choose: random.Random) -> bytes:
    """Two tensors of one file have changed names."""
    end = header_end(data)
    header = json.loads(data[8:end])
    one, other = choose.sample([name for name in header if name != "__metadata__"], 2)
    header[one], header[other] = header[other], header[one]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


EDITS = (flip, flip_header, cut, cut_out, zero, grow, shape, swap)


@pytest.fixture
def hang():
    """Stop what takes too long."""

    def stop(*_):
        raise AssertionError("it hangs")

    previous = signal.signal(signal.SIGALRM, stop)
    yield signal.alarm
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.long
def test_faults_in_one_file(small, tmp_path, hang):
    """The checksum covers all of it: every fault is told, or the same comes out."""
    _, file = small
    expected, data, path = result(file), file.read_bytes(), tmp_path / "file.safetensors"
    refused = dict.fromkeys(EDITS, 0)
    for seed in range(FAULTS):
        choose, edit = random.Random(seed), EDITS[seed % len(EDITS)]
        path.write_bytes(edit(data, choose))
        hang(SECONDS_EACH)
        try:
            assert same(result(path), expected), f"{edit.__name__} {seed} gives another LoRA"
        except HyperLoRAError as error:
            assert str(path) in str(error), f"{edit.__name__} {seed}: {error}"
            refused[edit] += 1
        hang(0)
    assert sum(refused.values()) > 0.9 * FAULTS, {edit.__name__: count for edit, count in refused.items()}


@pytest.mark.slow
def test_faults_in_a_folder(small, tmp_path, hang):
    """No checksum there: every fault is told but one that leaves header, shapes and finite numbers right.

    A changed name of a module is told too: it names an attention that the base model lacks, or one that is there twice.
    """
    folder, _ = small
    expected = result(folder)
    target = tmp_path / "folder"
    target.mkdir()
    contents = {file.name: file.read_bytes() for file in folder.iterdir()}
    silent = {}
    for seed in range(FAULTS):
        choose, edit = random.Random(1000 + seed), EDITS[seed % len(EDITS)]
        name = choose.choice(sorted(contents))
        if name.endswith(".json") and edit in (flip_header, shape, swap):
            edit = flip
        for other, data in contents.items():
            (target / other).write_bytes(edit(data, choose) if other == name else data)
        hang(SECONDS_EACH)
        try:
            network = HyperLoRA.load(target)
            refused_on_use = {module.name for module in network.config.modules} - set(demo.ATTENTIONS)
            if not refused_on_use and not same(made_by(network), expected):
                silent[seed] = (edit, name)
        except HyperLoRAError as error:
            assert "folder" in str(error)
        hang(0)
    unseen = {(edit.__name__, name) for edit, name in silent.values()}
    assert {edit for edit, _ in unseen} <= {"flip", "zero", "swap"}, unseen
    for edit, name in silent.values():
        assert name.endswith(".safetensors"), f"{edit.__name__} of {name} was told by nothing"
