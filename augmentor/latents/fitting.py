"""Fitting of the reference set of policies and the gate on raw latents of real images."""

from __future__ import annotations

import warnings

import torch

from ..exceptions import AugmentorWarning
from .batch import label_keys
from .pseudo_labels import MIN_ACCURACY, HeldOut, PseudoLabeller
from .reference import ReferenceSet
from .statistics import LatentStats


def fit_reference(
    stats: LatentStats,
    raw: torch.Tensor,
    labels: torch.Tensor | None = None,
    num_classes: int | None = None,
    unlabelled: torch.Tensor | None = None,
) -> ReferenceSet:
    """Return the reference set of raw latents (N, *L), with labels int64 (N,), float (N,K) or None.

    stats: fitted on the latents first, unless already fitted.
    unlabelled: more raw latents (M, *L). If `labels` is given, only latents with confident pseudo-labels from label
        spreading (`PseudoLabeller`) are added, with a warning if too few held-out labels are predicted correctly.
    """
    device = stats.mean.device
    raw, labels = raw.to(device), None if labels is None else labels.to(device)
    more = raw[:0] if unlabelled is None else unlabelled.to(device)
    if not stats.fitted:
        stats.fit([raw, more])
    z, others = stats.standardise(raw).float(), stats.standardise(more).float()
    if len(others) and labels is not None:
        labeller = PseudoLabeller(z, labels, others)
        _warn_of_wrong_labels(labeller.held_out())
        rows, spread, _ = labeller.pseudo_labels()
        others, labels = others[rows], torch.cat([label_keys(labels), spread])
    return ReferenceSet(torch.cat([z, others]), labels, num_classes)


def _warn_of_wrong_labels(held_out: HeldOut | None) -> None:
    if held_out is not None and not held_out.reaches(MIN_ACCURACY):
        warnings.warn(
            f"the accuracy of pseudo-labels of the unlabelled images is about {held_out}, so reference samples have "
            "wrong classes; use an autoencoder trained on all of these images, label more of them, or leave "
            "unlabelled= out",
            AugmentorWarning,
            stacklevel=5,  # the call of LatentAugment.fit
        )
