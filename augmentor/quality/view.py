"""Scores of samples relative to real samples, in one view: latents, or features of images."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..exceptions import ReferenceSetError
from ..latents import SAME, ReferenceSet

# A view is calibrated on at most this many real samples, at equal steps through the reference set.
HELD_OUT = 2000


class Place(NamedTuple):
    """Scores of samples: the fraction of held-out real samples that score the same or worse, float (B,) in [0, 1].

    near: for the distance to the k-th nearest real sample. apart: for the distance to the nearest real sample. agrees:
    for the agreement with the label; None without labels. copy: bool (B,), whether the sample equals a real sample.
    """

    near: torch.Tensor
    apart: torch.Tensor
    agrees: torch.Tensor | None
    copy: torch.Tensor


class View:
    """A reference set of real samples, and the scores of each of them against the others.

    k: number of the neighbour whose distance is measured. copies: distance from which on a sample is never a copy, even
    if real samples are farther from each other. Raises `ReferenceSetError` for fewer than two real samples.

    >>> view = View(ReferenceSet(torch.randn(200, 4)), k=3)
    >>> view.place(torch.full((1, 4), 9.0), None, None).near
    tensor([0.])
    """

    def __init__(self, reference: ReferenceSet, k: int, copies: torch.Tensor | None = None):
        if len(reference) < 2:
            raise ReferenceSetError(
                f"QualityGate needs at least 2 real samples, and the reference set has {len(reference)}; "
                "fit it on more images"
            )
        self.reference, self._k = reference, min(k, len(reference) - 1)
        rows = torch.arange(0, len(reference), -(-len(reference) // HELD_OUT), device=reference.z.device)
        distance, _ = reference.nearby(reference.z[rows], self._k + 1, rows)
        others = distance[:, 1:]  # the first is the sample itself
        labels = reference.labels[rows] if reference.labelled else None
        raw = self._raw(others, reference.z[rows], labels, rows)
        if copies is not None:
            raw["apart"] = raw["apart"].minimum(copies)
        if labels is not None and "agrees" in raw:
            raw["agrees"] = raw["agrees"][labels >= 0]
        self._real = {name: values.sort().values for name, values in raw.items()}

    def place(self, z: torch.Tensor, labels: torch.Tensor | None, origin: torch.Tensor | None) -> Place:
        """Return the scores of samples z (B, *L) with labels int64 (B,), float (B,K) or None.

        origin: the row that each was made from, int64 (B,), -1 if it is not in the reference set. None: the nearest.
        """
        distance, near = self.reference.nearby(z, self._k, None if origin is None else origin.clamp_min(0))
        raw = self._raw(distance, z, labels, near[:, 0] if origin is None else origin)
        shares = {name: _share(self._real[name], values) for name, values in raw.items() if name in self._real}
        copy = distance[:, 0] < SAME
        # A copy gets 0 even if the reference set contains copies, too.
        return Place(shares["near"], shares["apart"].masked_fill(copy, 0), shares.get("agrees"), copy)

    def to(self, device: torch.device) -> View:
        """Move the view to a device, and return it."""
        self.reference = self.reference.to(device)
        self._real = {name: values.to(device) for name, values in self._real.items()}
        return self

    def _raw(
        self, distance: torch.Tensor, z: torch.Tensor, labels: torch.Tensor | None, origin: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return raw scores (B,), of which higher ones are better. distance: (B,k), ascending."""
        raw = {"near": -distance[:, -1], "apart": distance[:, 0]}
        classifier = self.reference.classifier
        if labels is not None and classifier is not None:
            folds = classifier.folds[origin.clamp_min(0)].masked_fill(origin < 0, -1)
            raw["agrees"] = classifier.agreement(z, labels, folds)
        return raw


def _share(real: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return the fraction of real scores, ascending, that are at most each value; 0 for NaN."""
    return torch.searchsorted(real, values.contiguous(), right=True).masked_fill(values.isnan(), 0) / len(real)
