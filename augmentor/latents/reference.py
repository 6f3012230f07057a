"""Reference set of a policy: fitted latents of real samples, or the current batch."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch

from .._internal.random import SampleRandom
from ..exceptions import ReferenceSetError
from .batch import Latents, label_keys
from .classifier import LatentClassifier
from .neighbours import SAME, Neighbours


class Partners(NamedTuple):
    """One reference sample per sample: latents (B, *L), labels int64 (B,) or float (B,K), and whether it exists.

    found: bool (B,), false for a sample without a partner; its latent and label are then arbitrary.
    """

    z: torch.Tensor
    labels: torch.Tensor
    found: torch.Tensor


class ReferenceSet(Neighbours):
    """Standardised latents of real samples, sorted by class; the samples of a class are found by binary search.

    z: float (N, *L).
    labels: int64 (N,), float (N,K), or None, which makes all samples one class.
    num_classes: K, or None if unknown.
    fitted: False for a reference set that is only the current batch.

    Partners of the same class have the same label: the same class number, or the same row of a multi-hot or soft label
    (`label_keys`). A sample with an ignored label, a negative number or a row of zeros, is never a partner and has no
    partner.

    >>> reference = ReferenceSet(torch.randn(6, 2), torch.tensor([0, 0, 0, 1, 1, 1]))
    >>> reference.class_counts()
    {0: 3, 1: 3}
    """

    def __init__(
        self,
        z: torch.Tensor,
        labels: torch.Tensor | None = None,
        num_classes: int | None = None,
        *,
        fitted: bool = True,
    ):
        keys = torch.zeros(len(z), dtype=torch.int64, device=z.device) if labels is None else label_keys(labels)
        keys, order = torch.sort(keys, stable=True)
        super().__init__(z[order], keys)
        self.order = order  # index of each row among the given samples, int64 (N,)
        self.soft_labels = labels[order] if labels is not None and labels.ndim == 2 else None
        self.labelled = labels is not None
        self.num_classes = num_classes
        self.fitted = fitted

    @classmethod
    def of_batch(cls, latents: Latents) -> ReferenceSet:
        """Return the real samples of a batch as a reference set."""
        soft = latents.labels is not None and latents.labels.ndim == 2
        classes = latents.labels.shape[1] if soft else None  # type: ignore[union-attr]
        return cls(latents.own.detach(), latents.labels, classes, fitted=False)

    def to(self, device: torch.device | str) -> ReferenceSet:
        """Return the reference set on a device, without a copy if it is already there."""
        if self.z.device == torch.device(device):
            return self
        known = self.given_labels
        labels = None if known is None else known.to(device)
        moved = ReferenceSet(self.z.to(device), labels, self.num_classes, fitted=self.fitted)
        moved.order = self.order.to(device)
        if "classifier" in self.__dict__ and self.classifier is not None:
            moved.__dict__["classifier"] = self.classifier.to(device)
        return moved

    @property
    def given_labels(self) -> torch.Tensor | None:
        """Labels of the rows, int64 (N,), where ignored ones are -1, or float (N,K); None without labels."""
        return None if not self.labelled else self.labels if self.soft_labels is None else self.soft_labels

    def class_counts(self) -> dict[int, int]:
        """Return the number of samples per class, or per label key; samples with ignored labels are left out."""
        classes, counts = self.labels[self.labels >= 0].unique_consecutive(return_counts=True)
        return dict(zip(classes.tolist(), counts.tolist(), strict=True))

    def random_samples(self, latents: Latents, random: SampleRandom, *, same_class: bool = True) -> Partners:
        """Return a random other sample for each sample, of its class or of any class."""
        start, count = self._range(latents, same_class)
        pick = (random.uniform() * count).long().minimum(count - 1).clamp_min(0)
        row = self._row(start + pick)
        itself = self._is(latents.own, row[:, None]).squeeze(1)
        row = self._row(torch.where(itself, start + (pick + 1) % count.clamp_min(1), row))
        return self._partners(row, count > itself)

    def neighbours(self, latents: Latents, random: SampleRandom, k: int) -> Partners:
        """Return, for each sample, a random one of the k nearest other samples of its class."""
        keys = self._keys(latents, same_class=True)
        nearest, rows = (self.looked_up if self._recurs else self.nearest)(latents.z, k + 1, keys)
        # An unperturbed sample is its own nearest neighbour.
        itself = nearest[:, :1] < SAME if latents.real is None else self._is(latents.own, rows) & nearest.isfinite()
        found, place = itself.max(1)
        usable = (nearest.isfinite().sum(1) - found.long()).clamp_max(k)
        pick = (random.uniform() * usable).long().minimum(usable - 1).clamp_min(0)
        pick = pick + (found & (pick >= place))
        row = rows.gather(1, torch.where(usable > 0, pick, 0)[:, None]).squeeze(1)
        return self._partners(row, usable > 0 if keys is None else (usable > 0) & (keys >= 0))

    def origin(self, z: torch.Tensor) -> torch.Tensor:
        """Return the row equal to each latent (B, *L) of a real sample, or else the nearest row: int64 (B,)."""
        if not self._recurs:
            return self.nearest(z, 1)[1].squeeze(1)
        rows = self.find(z)
        others = (rows < 0).nonzero().squeeze(1)
        if len(others):
            rows[others] = self.nearest(z[others], 1)[1].squeeze(1)
        return rows

    @cached_property
    def classifier(self) -> LatentClassifier | None:
        """Classifier of the reference set, fitted at first use; None without labels or with one class."""
        if len(self.class_counts()) < 2:
            return None
        return LatentClassifier(self.z, self.labels)

    @property
    def _recurs(self) -> bool:
        """Whether to use `looked_up`: samples of a fitted reference set recur, and a CPU needs no synchronisation."""
        return self.fitted and self.z.device.type == "cpu"

    def _is(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return which of the rows, int64 (B,k), are equal to each latent (B, *L): bool (B,k)."""
        return (z.unsqueeze(1) - self.z[rows]).flatten(2).square().mean(2).sqrt() < SAME

    def _partners(self, row: torch.Tensor, found: torch.Tensor) -> Partners:
        labels = self.labels if self.soft_labels is None else self.soft_labels
        return Partners(self.z[row], labels[row], found)

    def _row(self, row: torch.Tensor) -> torch.Tensor:
        """Return an existing row, also for a class without rows."""
        return row.clamp_max(len(self) - 1)

    def _range(self, latents: Latents, same_class: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return, for each sample, the first row and the number of rows that may be its partner."""
        keys = self._keys(latents, same_class)
        if keys is None:  # all rows except the ignored ones, which come first
            first = torch.searchsorted(self.labels, torch.zeros(1, dtype=torch.int64, device=self.labels.device))
            start = first.expand(len(latents))
            count = len(self) - start
            own = None if latents.labels is None else label_keys(latents.labels)
            return start, count if own is None else count.masked_fill(own < 0, 0)
        start = torch.searchsorted(self.labels, keys)
        count = torch.searchsorted(self.labels, keys, right=True) - start
        return start, count.masked_fill(keys < 0, 0)

    def _keys(self, latents: Latents, same_class: bool) -> torch.Tensor | None:
        """Return the keys that partners share, int64 (B,); None if any sample may be a partner."""
        if latents.labels is not None and not self.labelled:
            raise ReferenceSetError(
                "the samples are labelled and the reference set is not, so it has no partners of a known class; "
                "fit it on labelled data, or pass the samples without labels"
            )
        if not same_class or not self.labelled:
            return None
        if latents.labels is None:
            raise ReferenceSetError(
                "the reference set is labelled and the samples are not; pass their labels, "
                "or use a policy that takes partners of any class"
            )
        return label_keys(latents.labels).contiguous()
