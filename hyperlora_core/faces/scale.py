"""What likeness means: cosines of face embeddings, and the thresholds at which they are one person's."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LikenessScale:
    """Cosines of one face embedder.

    Attributes:
        different: two photos below this show two people.
        same: two photos from here on show one person.
        usual: half of all pairs of photos of one person are above this.
    """

    different: float
    same: float
    usual: float


INSIGHTFACE = LikenessScale(different=0.2, same=0.28, usual=0.46)
"""Of ArcFace networks of insightface's kind: antelopev2, buffalo, AuraFace. One with other cosines needs its own.

The limits are those of insightface's own demo of comparing two photos (deepinsight/insightface, web-demos, with
buffalo_l's w600k_r50); the usual likeness is the median over photos that WithAnyone (2025) gives.
"""


def mean_agreement(embeds: Tensor) -> list[float]:
    """The mean cosine of each of ``(photos, 512)`` with the others; 1 for a single one."""
    if len(embeds) == 1:
        return [1.0]
    cosines = embeds @ embeds.mT
    return [float(row.sum() - row[i]) / (len(embeds) - 1) for i, row in enumerate(cosines)]
