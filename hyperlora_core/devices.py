"""Where torch computes."""

import torch

from .errors import MissingPackageError


def check_device(name: str, flag: str) -> None:
    """Check that torch can compute on a device.

    Args:
        name: of a device, as torch knows it.
        flag: the option that named it, for the message.

    Raises:
        MissingPackageError: this build of torch cannot use it, or there is no such device.
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise MissingPackageError(f"{flag} {name} cannot be used here ({reason}): give cpu") from error
