"""Progress and interruption, as the core is told of them."""

from collections.abc import Callable

import comfy.model_management
from comfy.utils import ProgressBar


def photo_progress(photos: int) -> Callable[[int], None]:
    """A callback for each photo done: moves the node's bar, and stops where the user pressed Cancel."""
    bar = ProgressBar(photos)

    def done(number: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(number)

    return done
