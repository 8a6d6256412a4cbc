"""One piece of the work in a process of its own: ``python -m benchmarks.toy_world.job NAME``."""

import logging
import sys

import torch

from . import base_training, encoders
from .measuring import measure, measure_plain, plain_recipe, stored
from .personal import NAME as PERSONAL
from .personal import measure_personal
from .runs import train, world
from .variants import legs

ENCODERS = {"judge": encoders.judge, "face": encoders.face_encoder, "tokens": encoders.token_encoder}


def main(name: str) -> None:
    """Do it, from where it was stopped.

    Args:
        name: of ``ENCODERS``, "base", "plain" for what is measured of the base alone, "personal", or a leg's.
    """
    torch.set_num_threads(1)
    if name == "base":
        torch.set_num_threads(2)
        base_training.trained()
    elif name in ENCODERS:
        ENCODERS[name]()
    elif name == "plain":
        if stored(name, plain_recipe()) is None:
            measure_plain(world(), encoders.judge())
    elif name == PERSONAL:
        measure_personal(world(), encoders.judge())
    else:
        (leg,) = (each for each in legs() if each.name == name)
        parts = world()
        if train(leg, parts) and stored(leg.name, leg.recipe) is None:
            measure(leg, parts, encoders.judge())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("accelerate").setLevel(logging.WARNING)
    main(sys.argv[1])
