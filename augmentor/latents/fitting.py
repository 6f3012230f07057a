"""Raw latents of real images => the reference set that policies and the gate look at."""

from __future__ import annotations

import torch

from .batch import label_keys
from .label_spreading import spread_labels
from .reference import ReferenceSet
from .statistics import LatentStats


def fit_reference(
    stats: LatentStats,
    raw: torch.Tensor,
    labels: torch.Tensor | None = None,
    num_classes: int | None = None,
    unlabelled: torch.Tensor | None = None,
) -> ReferenceSet:
    """Standardised latents of raw ones (N, *L), with labels int64 (N,), float (N,K) or None.

    stats: fitted on the latents first, unless they are fitted already. unlabelled: more raw latents (M, *L); where
    there are labels, those of them join that get one by label spreading (`spread_labels`).
    """
    device = stats.mean.device
    raw, labels = raw.to(device), None if labels is None else labels.to(device)
    more = raw[:0] if unlabelled is None else unlabelled.to(device)
    if not stats.fitted:
        stats.fit([raw, more])
    z, others = stats.standardise(raw).float(), stats.standardise(more).float()
    if len(others) and labels is not None:
        rows, spread = spread_labels(z, labels, others)
        others, labels = others[rows], torch.cat([label_keys(labels), spread])
    return ReferenceSet(torch.cat([z, others]), labels, num_classes)
