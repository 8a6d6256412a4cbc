"""Files on disk: safetensors read and written, files that are whole or absent, and what a file is.

``stored`` reads and writes safetensors, ``atomic`` writes any file so that it is whole or absent, ``foreign`` says what
a file is that should have been a model, ``kinds`` which model it is by the names in it. ``fingerprints`` tells files
apart, ``encoders`` the encoders that a HyperLoRA was trained with. ``photos`` opens photos, ``downloads`` fetches
models, ``clutter`` is what is passed over in folders. Nothing here imports torch before a tensor is read.
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
