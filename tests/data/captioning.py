"""Captioners of a user's own, as ``module:function``, and a worker that cannot be made."""

import os
import signal


def sizes(photos):
    """Says how large each picture is."""
    return [f"a picture of {photo.width} by\n {photo.height}" for photo in photos]


def ends_the_process(photos):
    """Ends the process at one picture, as a broken library does; by itself or among others."""
    if any(photo.size == (626, 1200) for photo in photos):
        os.kill(os.getpid(), signal.SIGKILL)
    return sizes(photos)


class EndsWhileMade:
    """A worker whose process ends while its models are loaded, as it does where memory does not suffice."""

    def __init__(self):
        os.kill(os.getpid(), signal.SIGKILL)


def fails(photos):
    """Raises what nobody expects."""
    raise ZeroDivisionError("of the captioner")


def too_few(photos):
    """Leaves one out."""
    return sizes(photos)[1:]


def fails_on_one(photos):
    """Raises at one picture, by itself or among others."""
    if any(photo.size == (910, 1137) for photo in photos):
        raise ZeroDivisionError("of the captioner")
    return sizes(photos)


def says_nothing(photos):
    """Gives empty texts."""
    return ["  "] * len(photos)
