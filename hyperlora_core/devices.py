"""Where torch computes."""

import torch

from .errors import MissingPackageError


def check_device(name: str, flag: str) -> None:
    """See whether torch can compute there.

    Args:
        name: of a device, as torch knows it.
        flag: by which it was given, for the error.

    Raises:
        MissingPackageError: it cannot, here.
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise MissingPackageError(f"{flag} {name} cannot be used here ({reason}): give cpu") from error
