"""What a run begins with: a fresh network, or a checkpoint's."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from ..errors import HyperLoRAError
from ..network.config import AttentionModule
from ..network.hyperlora import HyperLoRA
from .config import TrainConfig
from .fresh import fresh
from .stages import stage

_BASE_SHAPE = ("base_resampler", "base_rank")

log = logging.getLogger(__name__)


def network_for(config: TrainConfig, attentions: Sequence[AttentionModule]) -> HyperLoRA:
    """The network that a run trains, in float32 on the CPU.

    Args:
        config: of the run; where it names a checkpoint, that is loaded, and ``config.shape`` counts for Base parts that
            it lacks and the stage trains.
        attentions: of the base model's UNet.

    Raises:
        HyperLoRAError: the checkpoint cannot be loaded, is for another UNet, or the stage could learn nothing with it.
    """
    if not config.start:
        network = fresh(config.shape.config(attentions), config.seed)
        _check_bases(network, config)
        return network
    network = HyperLoRA.load(Path(config.start))
    if set(network.config.modules) != set(attentions):
        checkpoint_count, unet_count = len(network.config.modules), len(attentions)
        raise HyperLoRAError(
            f"{config.start} is for a UNet with {checkpoint_count} attentions, and the base model's UNet has "
            f"{unet_count}, or of other widths: choose the base model that it was trained on, or one of the same shape"
        )
    if "base_bases" in stage(config.stage).trains and not network.config.has_base:
        network = _with_base(network, config)
        log.info("%s has no Base parts: fresh ones are added", config.start)
    network_config, shape = network.config, config.shape.config(attentions)
    settled = ["id_resampler", "id_rank", "id_tokens", "id_embed_dim", *_BASE_SHAPE * network_config.has_base]
    if any(getattr(network_config, name) != getattr(shape, name) for name in settled):
        log.warning("%s settles the shape: what shape.* says otherwise is not read", config.start)
    _check_bases(network, config)
    return network.float()


def _check_bases(network: HyperLoRA, config: TrainConfig) -> None:
    """Refuse a run in which no gradient can flow: through ID bases that are zero, and frozen."""
    trained, whose = stage(config.stage), config.start or "a fresh HyperLoRA"
    if trained.learns == "id" and network.config.has_base and not _has_numbers(network.base_bases):
        log.warning(
            "the Base bases of %s are zero: the ID-LoRA learns what stage 1 is there to take up; give --start what the "
            "stage base made",
            whose,
        )
    if trained.learns != "id" or "id_bases" in {*trained.trains, *config.also_train}:
        return
    if not _has_numbers(network.id_bases):
        raise HyperLoRAError(
            f"the ID bases of {whose} are zero, and the stage {config.stage} leaves them "
            "so: nothing could be learned. Give --start what the stage id_clip made"
        )


def _has_numbers(bases: nn.Module) -> bool:
    """Whether they add anything: their up matrices begin as zeros."""
    return any(bool(value.any()) for name, value in bases.named_parameters() if ".up." in name)


def _with_base(network: HyperLoRA, config: TrainConfig) -> HyperLoRA:
    """A network with fresh Base parts of the run's shape beside its own ID parts."""
    own_config, shape = network.config, config.shape.config(network.config.modules)
    if shape.base_resampler is None:
        network.need_base()
    if own_config.clip_width not in (None, shape.clip_width):
        raise HyperLoRAError(
            f"shape.clip_width is {shape.clip_width}, but {config.start} reads CLIP tokens {own_config.clip_width} wide"
        )
    config_with_base = replace(
        own_config, base_resampler=shape.base_resampler, base_rank=shape.base_rank, clip_width=shape.clip_width
    )
    network_with_base = fresh(config_with_base, config.seed)
    keys = network_with_base.load_state_dict(network.state_dict(), strict=False)
    assert not keys.unexpected_keys
    network_with_base.source, network_with_base.encoders = network.source, network.encoders
    return network_with_base
