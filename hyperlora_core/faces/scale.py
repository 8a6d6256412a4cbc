"""How like one person faces are: cosines of their embeddings, and what these mean."""

from torch import Tensor


def mean_agreement(embeds: Tensor) -> list[float]:
    """The mean cosine of each of ``(photos, 512)`` with the others; 1 for a single one."""
    if len(embeds) == 1:
        return [1.0]
    cosines = embeds @ embeds.mT
    return [float(row.sum() - row[i]) / (len(embeds) - 1) for i, row in enumerate(cosines)]
