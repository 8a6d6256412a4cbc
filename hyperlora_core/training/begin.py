"""What a run begins with: a fresh network, or a checkpoint's."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import HyperLoRAError
from ..network.config import AttentionModule
from ..network.hyperlora import HyperLoRA
from .config import TrainConfig
from .fresh import fresh
from .stages import stage

log = logging.getLogger(__name__)


def network_for(config: TrainConfig, attentions: Sequence[AttentionModule]) -> HyperLoRA:
    """The network that a run trains, in float32 on the CPU.

    Args:
        config: of the run; where it names a checkpoint, that is loaded, and ``config.shape`` counts for Base parts that
            it lacks and the stage trains.
        attentions: of the base model's UNet.

    Raises:
        HyperLoRAError: the checkpoint cannot be loaded, or is for another UNet.
    """
    if not config.start:
        return fresh(config.shape.config(attentions), config.seed)
    network = HyperLoRA.load(Path(config.start))
    if set(network.config.modules) != set(attentions):
        own, other = len(network.config.modules), len(attentions)
        raise HyperLoRAError(
            f"{config.start} is for a UNet with {own} attentions, and the base model's UNet has {other}, or of other "
            "widths: choose the base model that it was trained on, or one of the same shape"
        )
    if "base_bases" in stage(config.stage).trains and not network.config.has_base:
        network = _with_base(network, config)
        log.info("%s has no Base parts: fresh ones are added", config.start)
    return network.float()


def _with_base(network: HyperLoRA, config: TrainConfig) -> HyperLoRA:
    """A network with fresh Base parts of the run's shape beside its own ID parts."""
    known, shape = network.config, config.shape.config(network.config.modules)
    if shape.base_resampler is None:
        network.need_base()
    if known.clip_width not in (None, shape.clip_width):
        raise HyperLoRAError(
            f"shape.clip_width is {shape.clip_width}, but {config.start} reads CLIP tokens {known.clip_width} wide"
        )
    joined = replace(known, base_resampler=shape.base_resampler, base_rank=shape.base_rank, clip_width=shape.clip_width)
    made = fresh(joined, config.seed)
    left = made.load_state_dict(network.state_dict(), strict=False)
    assert not left.unexpected_keys
    made.source, made.encoders = network.source, network.encoders
    return made
