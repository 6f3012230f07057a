"""Where samples are among real ones: one view of them, by latents or by features of images."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..exceptions import ReferenceSetError
from ..latents import SAME, ReferenceSet

# A view is calibrated on at most this many real samples, at equal steps through the reference set.
HELD_OUT = 2000


class Place(NamedTuple):
    """For each sample the share of held-out real samples that do no better, float (B,) in [0, 1].

    near: at being where real samples are. apart: at being more than a copy. agrees: at looking like the label; None
    where nothing is labelled. copy: bool (B,), whether it is a real sample.
    """

    near: torch.Tensor
    apart: torch.Tensor
    agrees: torch.Tensor | None
    copy: torch.Tensor


class View:
    """A reference set of real samples, and what these score when each is compared with the others.

    k: which neighbour's distance is measured. copies: a distance from which on no sample counts as a copy, however far
    real samples are from each other. Raises `ReferenceSetError` for fewer than two real samples.

    >>> view = View(ReferenceSet(torch.randn(200, 4)), k=3)
    >>> view.place(torch.full((1, 4), 9.0), None, None).near
    tensor([0.])
    """

    def __init__(self, reference: ReferenceSet, k: int, copies: torch.Tensor | None = None):
        if len(reference) < 2:
            raise ReferenceSetError(
                f"QualityGate compares real samples with each other, and the reference set has {len(reference)}"
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
        """z: (B, *L). labels: int64 (B,), float (B,K) or None. origin: the row that each was made from, int64 (B,), -1
        for one that is not in the reference set; None where it is not known, and the nearest is taken for it.
        """
        distance, near = self.reference.nearby(z, self._k, None if origin is None else origin.clamp_min(0))
        raw = self._raw(distance, z, labels, near[:, 0] if origin is None else origin)
        shares = {name: _share(self._real[name], values) for name, values in raw.items() if name in self._real}
        copy = distance[:, 0] < SAME
        # A copy is not apart even where the reference set holds copies too.
        return Place(shares["near"], shares["apart"].masked_fill(copy, 0), shares.get("agrees"), copy)

    def to(self, device: torch.device) -> View:
        """Itself, on a device."""
        self.reference = self.reference.to(device)
        self._real = {name: values.to(device) for name, values in self._real.items()}
        return self

    def _raw(
        self, distance: torch.Tensor, z: torch.Tensor, labels: torch.Tensor | None, origin: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Scores of which more is better, (B,) each. distance: (B,k), ascending."""
        raw = {"near": -distance[:, -1], "apart": distance[:, 0]}
        classifier = self.reference.classifier
        if labels is not None and classifier is not None:
            folds = classifier.folds[origin.clamp_min(0)].masked_fill(origin < 0, -1)
            raw["agrees"] = classifier.agreement(z, labels, folds)
        return raw


def _share(real: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Share of the real samples, ascending, that have no more than each value; none for NaN."""
    return torch.searchsorted(real, values.contiguous(), right=True).masked_fill(values.isnan(), 0) / len(real)
