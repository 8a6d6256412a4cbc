"""The errors a user can meet: each names what was wrong and what to do about it."""

NOT_FINITE = (
    "the LoRA's {} are not finite numbers: the checkpoint is broken, which `hyperlora inspect --full` tells, or half "
    "precision is too small for it: choose the dtype fp32"
)

DOCTOR = "`hyperlora doctor`, or Settings > HyperLoRA > About in ComfyUI, shows what is installed"
"""Where whoever meets an error that is about the environment looks."""


class HyperLoRAError(ValueError):
    """Something a user gave cannot be used as it is."""


class NoFaceError(HyperLoRAError):
    """No usable face was found in a photo."""


class MissingPackageError(HyperLoRAError):
    """A package that this step needs is not installed, or the wrong build of it is.

    It ends with where to look; the text alone is what it was raised with, so that it may go from process to process.
    """

    def __str__(self) -> str:
        return f"{super().__str__().rstrip('.')}. {DOCTOR}"


def shortened(value: object, most: int = 80) -> str:
    """What messages quote of a value that may be of any length, as ``repr`` writes it."""
    text = repr(value if not isinstance(value, str) else value[: most + 1])
    return text if len(text) <= most + 2 else f"{text[:most]}..."
