"""CLIP's image and text embeddings, by open_clip: what CLIP-I and CLIP-T are cosines of.

open_clip is imported here alone. A tower is a folder as the hub has them for open_clip: ``open_clip_config.json``
beside ``open_clip_model.safetensors``. Shapes: N pictures or texts, D what the tower projects to.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import files
from ..devices import check_device
from ..errors import HyperLoRAError, MissingPackageError
from ..files import file_sha256
from ..files.encoders import Encoder

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
_BATCH = 16

log = logging.getLogger(__name__)


class ClipScorer:
    """A CLIP with both of its halves.

    Attributes:
        encoder: which one it is, by its folder's name and its weights.
        fingerprint: of its weights and its configuration.
        device: where it computes.
    """

    def __init__(
        self,
        model: Any,
        transform: Callable[[Image.Image], Tensor],
        tokenizer: Any,
        encoder: Encoder,
        fingerprint: str,
        device: str,
    ) -> None:
        self._model, self._transform, self._tokenizer = model, transform, tokenizer
        self.encoder, self.fingerprint, self.device = encoder, fingerprint, device

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> "ClipScorer":
        """Load a tower, in float32.

        Args:
            folder: with ``open_clip_config.json`` and ``open_clip_model.safetensors``.
            device: where it computes.

        Raises:
            HyperLoRAError: the folder lacks one of them, they are broken or do not belong together, or the device
                cannot be used.
            MissingPackageError: open_clip is not installed.
        """
        folder = Path(folder)
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise HyperLoRAError(
                    f"the CLIP folder {folder} has no {name}: hyperlora download clip-scores fetches one, and any "
                    "model that the Hugging Face Hub has for open_clip will do"
                )
        files.open_safetensors(folder / WEIGHTS)  # says what is wrong with a file that is none
        check_device(device, "--device")
        open_clip = _open_clip()
        try:
            width = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]["embed_dim"]
            with _quiet():
                model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}", device=device)
                tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise HyperLoRAError(f"the CLIP of {folder} cannot be loaded ({reason})") from error
        encoder = Encoder(folder.resolve().name, file_sha256(folder / WEIGHTS))
        log.info("Loaded the CLIP %s, %s numbers a picture, from %s", encoder.name, width, folder)
        content = f"{encoder.sha256}{file_sha256(folder / CONFIG)}"
        fingerprint = hashlib.sha256(content.encode()).hexdigest()
        return cls(model.requires_grad_(False).eval(), transform, tokenizer, encoder, fingerprint, device)

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Embeddings ``(N, D)`` of RGB pictures, float32, unit length, by the tower's own preprocessing."""
        embeddings = []
        for start in range(0, len(pictures), _BATCH):
            batch = [self._transform(picture.convert("RGB")) for picture in pictures[start : start + _BATCH]]
            embeddings.append(self._model.encode_image(torch.stack(batch).to(self.device), normalize=True))
        return _numbers(embeddings)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings ``(N, D)`` of texts, float32, unit length; of a long one, of as much as the tower reads."""
        length = self._tokenizer.context_length
        for text in texts:
            if self._length(text) > length:
                log.warning("CLIP reads %d tokens of a prompt, and scores by no more of %r", length, text)
        tokens = self._tokenizer(list(texts))
        embeddings = [
            self._model.encode_text(tokens[start : start + _BATCH].to(self.device), normalize=True)
            for start in range(0, len(texts), _BATCH)
        ]
        return _numbers(embeddings)

    def _length(self, text: str) -> int:
        """Tokens of a text, its ends included."""
        if hasattr(self._tokenizer, "encode"):
            return len(self._tokenizer.encode(text)) + 2
        return len(self._tokenizer.tokenizer.encode(text))  # open_clip's wrapper of transformers' tokenizers


def _numbers(batches: Sequence[Tensor]) -> np.ndarray:
    return torch.cat(list(batches)).float().cpu().numpy()


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise MissingPackageError(
            f"scoring by CLIP needs open_clip, which cannot be imported ({error}): pip install open_clip_torch"
        ) from error
    return open_clip


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip tells of every step on the root logger."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
