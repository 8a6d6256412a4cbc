"""Captioners: any image-to-text model of transformers, such as BLIP-2, or a function of the user's.

transformers is imported in this module only.
"""

import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..devices import check_device
from ..errors import HyperLoRAError, MissingPackageError

Captioner = Callable[[Sequence[Image.Image]], Sequence[str]]
"""Takes RGB pictures, returns a caption for each."""

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_MAX_TOKENS = 50


def is_function(name: str) -> bool:
    """Whether a name has the form ``module:function``."""
    return bool(_FUNCTION.fullmatch(name)) and not Path(name).exists()


def located(name: str) -> str:
    """The name as a worker in any folder can load it: a folder's becomes an absolute path."""
    return str(Path(name).resolve()) if not is_function(name) and Path(name).is_dir() else name


def check(name: str) -> None:
    """Check that a captioner exists, without loading a model.

    Raises:
        HyperLoRAError: it does not exist, or is of another kind.
        MissingPackageError: transformers is not installed.
    """
    if is_function(name):
        _function(name)
        return
    transformers = _transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        if type(config) not in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            raise ValueError(f"it is a {type(config).__name__.removesuffix('Config')}")
    except (OSError, ValueError, KeyError) as error:
        raise HyperLoRAError(
            f"the captioner {name} cannot be used ({_first_line(error)}): give the folder of a model of transformers "
            "that makes text of pictures, such as blip2-opt-2.7b, its name on the Hugging Face Hub, or module:function"
        ) from error


def load(name: str, device: str = "cpu") -> Captioner:
    """Load a captioner.

    Args:
        name: the folder of a model of transformers, or its name on the hub; or ``module:function``.
        device: of the model; on any but "cpu" it runs in half precision.

    Raises:
        HyperLoRAError: there is none of that name, it is of another kind, or the device cannot be used.
        MissingPackageError: transformers is not installed.
    """
    if is_function(name):
        return _function(name)
    import torch

    check_device(device, "--caption-device")
    transformers = _transformers()
    dtype = torch.float32 if device == "cpu" else torch.float16
    try:
        processor = transformers.AutoProcessor.from_pretrained(name)
        model = transformers.AutoModelForImageTextToText.from_pretrained(name, dtype=dtype).to(device).eval()
    except (OSError, ValueError, KeyError) as error:
        raise HyperLoRAError(f"the captioner {name} cannot be loaded: {_first_line(error)}") from error

    def captions(photos: Sequence[Image.Image]) -> list[str]:
        inputs = processor(images=list(photos), text=[""] * len(photos), return_tensors="pt", padding=True)
        inputs = inputs.to(device, dtype)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=_MAX_TOKENS, do_sample=False)
        return [" ".join(text.split()) for text in processor.batch_decode(tokens, skip_special_tokens=True)]

    return captions


def _function(name: str) -> Captioner:
    module, _, function = name.partition(":")
    try:
        captioner = getattr(importlib.import_module(module), function)
        if not callable(captioner):
            raise AttributeError(f"{function} is {type(captioner).__name__}, no function")
        return captioner
    except (ImportError, AttributeError) as error:
        raise HyperLoRAError(
            f"the captioner {name} cannot be imported ({error}): its module has to lie where Python finds it, "
            "on each machine of a cluster"
        ) from error


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingPackageError(
            f"writing captions needs transformers, which cannot be imported ({error}): pip install 'transformers>=5'"
        ) from error
    return transformers


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
