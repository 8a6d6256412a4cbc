"""Pictures resized and faces cut out as the face models were trained: bilinear, without smoothing, in whole numbers.

OpenCV's arithmetic for pictures of 8 bits (``cv2.resize`` and ``cv2.warpAffine``, versions up to 4.10), which all packs
of face models are used with: an embedding notices when it is done in another way. Places are (x, y), pixels.

Source of the face's places: ArcFace (Deng et al., CVPR 2019), as insightface aligns faces.
"""

import numpy as np

FACE_SIDE = 112
"""Pixels of an aligned face."""

# Eyes, nose, corners of the mouth of an aligned face.
_ALIGNED = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a picture.

    Args:
        pixels: ``(h, w, channels)``, uint8.
        width, height: of the result, from 1.

    Returns:
        ``(height, width, channels)``, uint8.
    """
    rows, columns = pixels.shape[:2]
    if (rows, columns) == (height, width):
        return pixels
    if (rows, columns) == (2 * height, 2 * width):  # OpenCV takes the mean of four pixels
        values = pixels.astype(np.int32)
        return ((values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2] + 2) >> 2).astype(
            np.uint8
        )
    left, right, part_x = _samples(columns, width)
    part_x[(left < 0) | (left >= columns - 1)] = 0  # so OpenCV has it across, but not down
    left, right = left.clip(0, columns - 1), right.clip(0, columns - 1)
    upper, lower, part_y = _samples(rows, height)
    upper, lower = upper.clip(0, rows - 1), lower.clip(0, rows - 1)

    def across(of_rows: np.ndarray) -> np.ndarray:
        row = pixels[of_rows].astype(np.int32)
        return row[:, left] * (2048 - part_x)[:, None] + row[:, right] * part_x[:, None]

    above, below = ((across(of_rows) >> 4) for of_rows in (upper, lower))
    mixed = ((above * (2048 - part_y)[:, None, None]) >> 16) + ((below * part_y[:, None, None]) >> 16)
    return ((mixed + 2) >> 2).astype(np.uint8)


def _samples(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two pixels that each new one lies between, beyond the edge too, and its distance to the first, in 2048ths."""
    places = ((np.arange(new_length) + 0.5) * (length / new_length) - 0.5).astype(np.float32)
    first = np.floor(places).astype(np.int64)
    part = places - first.astype(np.float32)
    return first, first + 1, np.rint(part * np.float32(2048)).astype(np.int32)


def warp(pixels: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """Cut a turned, scaled square out of a picture; what lies beyond its edge is black.

    Args:
        pixels: ``(h, w, channels)``, uint8.
        matrix: ``(2, 3)``, from places on the picture to places on the square.
        side: of the square.

    Returns:
        ``(side, side, channels)``, uint8.
    """
    back = inverted(matrix)
    steps = np.arange(side)
    # places in 32nds of a pixel, by way of 1024ths
    along_x, along_y = (np.rint(back[axis, 0] * steps * 1024).astype(np.int64) for axis in (0, 1))
    down_x, down_y = (np.rint((back[axis, 1] * steps + back[axis, 2]) * 1024).astype(np.int64) for axis in (0, 1))
    x = (down_x[:, None] + along_x + 16) >> 5
    y = (down_y[:, None] + along_y + 16) >> 5
    part_x, part_y = (x & 31)[..., None], (y & 31)[..., None]
    x, y = x >> 5, y >> 5

    height, width = pixels.shape[:2]

    def pixel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        values = pixels[y.clip(0, height - 1), x.clip(0, width - 1)].astype(np.int64)
        return values * inside[..., None]

    mixed = (
        pixel(x, y) * (32 - part_x) * (32 - part_y)
        + pixel(x + 1, y) * part_x * (32 - part_y)
        + pixel(x, y + 1) * (32 - part_x) * part_y
        + pixel(x + 1, y + 1) * part_x * part_y
    )
    return ((mixed + 512) >> 10).astype(np.uint8)


def alignment(keypoints: np.ndarray) -> np.ndarray:
    """The turn, scale and shift that bring a face's keypoints nearest to where an aligned face has them.

    Args:
        keypoints: ``(5, 2)``: eyes, nose, corners of the mouth.

    Returns:
        ``(2, 3)``, from places on the picture to places on the aligned face. Source: Umeyama 1991, in two dimensions.
    """
    points = np.asarray(keypoints, np.float32).astype(np.float64) @ [1, 1j]
    targets = aligned_places() @ [1, 1j]
    centred, aim = points - points.mean(), targets - targets.mean()
    turn = (centred.conj() @ aim) / (np.abs(centred) ** 2).sum()  # its length is the scale
    shift = targets.mean() - turn * points.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def aligned_places() -> np.ndarray:
    """Where an aligned face has its keypoints, ``(5, 2)``."""
    return _ALIGNED.astype(np.float64)


def inverted(matrix: np.ndarray) -> np.ndarray:
    """The way back of a ``(2, 3)`` matrix."""
    return np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Places ``(n, 2)`` through a ``(2, 3)`` matrix, float32."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
