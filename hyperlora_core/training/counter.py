"""Random numbers that belong to a sample, not to a process.

Every draw is made from (seed, the sample's number in the whole run, what it is for). Which process draws, in which
order, and what was drawn before have no say: one process or several, resumed or not, the run is the same.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def generator(seed: int, sample: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one sample.

    Args:
        seed: of the run.
        sample: the sample's number in the run, from 0, whatever process it is on.
        purpose: as "noise"; what is drawn for one purpose tells nothing of another.
    """
    digest = hashlib.blake2b(f"{seed}/{sample}/{purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def uniform(seed: int, sample: int, purpose: str) -> float:
    """A number from [0, 1)."""
    return float(torch.rand((), generator=generator(seed, sample, purpose), dtype=torch.float64))


def integers(seed: int, samples: Sequence[int], purpose: str, below: int) -> Tensor:
    """A whole number from [0, below) for each sample: ``(samples,)`` int64."""
    return torch.stack([torch.randint(below, (), generator=generator(seed, sample, purpose)) for sample in samples])


def normal(seed: int, samples: Sequence[int], purpose: str, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers of a shape for each sample: ``(samples, *shape)`` float32."""
    return torch.stack([torch.randn(tuple(shape), generator=generator(seed, sample, purpose)) for sample in samples])
