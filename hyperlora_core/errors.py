"""The errors a user can meet: each names what was wrong and what to do about it."""


class HyperLoRAError(ValueError):
    """Something a user gave cannot be used as it is."""


class NoFaceError(HyperLoRAError):
    """No usable face was found in a photo."""


class MissingPackageError(HyperLoRAError):
    """A package that this step needs is not installed, or the wrong build of it is."""
