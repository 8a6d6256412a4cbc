"""Files on disk: safetensors read and written, files that are whole or absent, and what a file is.

- ``stored`` opens and writes safetensors files, ``atomic`` writes any file so that it is whole or absent.
- ``kinds`` recognises a model file by its tensors' names; ``foreign`` names what is no model file at all.
- ``fingerprints`` tells whether a file changed; ``encoders`` which CLIP and face embedder a HyperLoRA was trained with.
- ``photos`` opens photos, ``downloads`` fetches models, ``clutter`` knows the hidden files that folders are full of.

Nothing here imports torch before a tensor is read.
"""

from .clutter import is_clutter
from .fingerprints import Stamp, file_sha256, stamp
from .foreign import DOWNLOAD_AGAIN, foreign, need_readable
from .stored import (
    ITEM_SIZES,
    METADATA,
    MODEL_SUFFIXES,
    PathOrFile,
    SafetensorsFile,
    StoredTensor,
    open_safetensors,
    read_bytes,
    save,
    write,
)

__all__ = [
    "DOWNLOAD_AGAIN",
    "ITEM_SIZES",
    "METADATA",
    "MODEL_SUFFIXES",
    "PathOrFile",
    "SafetensorsFile",
    "Stamp",
    "StoredTensor",
    "file_sha256",
    "foreign",
    "is_clutter",
    "need_readable",
    "open_safetensors",
    "read_bytes",
    "save",
    "stamp",
    "write",
]
