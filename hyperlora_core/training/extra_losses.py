"""The kinds of losses that a run can have beside the noise loss."""

from . import identity_loss
from .config import TrainConfig
from .losses import ExtraLoss, LossContext, LossKind

KINDS: tuple[LossKind, ...] = (identity_loss,)
"""A further loss is a module with ``check`` and ``build``, and an entry here; its settings are a field of
``TrainConfig``."""


def check(config: TrainConfig) -> None:
    """Find what the losses of a run need and lack, before a base model is loaded.

    Raises:
        HyperLoRAError: something is missing.
    """
    for kind in KINDS:
        kind.check(config)


def build(context: LossContext) -> list[ExtraLoss]:
    """The extra losses that a run's config asks for.

    Raises:
        HyperLoRAError: one does not fit the run.
    """
    return [loss for kind in KINDS if (loss := kind.build(context)) is not None]
