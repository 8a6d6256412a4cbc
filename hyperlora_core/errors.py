"""The errors a user can meet: each names what was wrong and what to do about it."""

NOT_FINITE = (
    "the LoRA's {} are not finite numbers: the checkpoint is broken, which `hyperlora inspect --full` tells, or half "
    "precision is too small for it: choose the dtype fp32"
)

DOCTOR = "`hyperlora doctor`, or Settings > HyperLoRA > About in ComfyUI, shows what is installed"
"""Ends the messages of errors that are about the environment."""


class HyperLoRAError(ValueError):
    """An input of the user's cannot be used: a file, a photo, a value."""


class NoFaceError(HyperLoRAError):
    """No usable face was found in a photo."""


class MissingPackageError(HyperLoRAError):
    """A package that this step needs is not installed, or the wrong build of it is.

    Its text ends with ``DOCTOR``, which ``__str__`` adds: ``args`` stay as they were, so that it can be pickled.
    """

    def __str__(self) -> str:
        return f"{super().__str__().rstrip('.')}. {DOCTOR}"


def shortened(value: object, most: int = 80) -> str:
    """What messages quote of a value that may be of any length, as ``repr`` writes it."""
    text = repr(value if not isinstance(value, str) else value[: most + 1])
    return text if len(text) <= most + 2 else f"{text[:most]}..."
