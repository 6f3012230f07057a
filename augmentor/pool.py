"""The samples that a policy may combine a sample with: a fitted pool of latents, or else the batch itself."""

from __future__ import annotations

from functools import cached_property

import torch

from ._random import SampleRandom
from .exceptions import PartnerError
from .latent_classifier import LatentClassifier
from .latents import Latents, class_index

# Standard latents closer than this (root mean square over the dimensions) are the same image.
SAME = 1e-3

# A table of distances has at most this many entries at a time.
_TABLE = 1 << 24
# Candidates looked at beyond those asked for, as matrix products round.
_MARGIN = 8


class LatentPool:
    """Standard latents of real samples, kept sorted by class so that a partner is found in constant time.

    z: float (N, *L). labels: int64 (N,), or None, which makes all samples one class. num_classes: K, or None where
    it is not known. fitted: False for a pool that is just the current batch.

    >>> pool = LatentPool(torch.randn(6, 2), torch.tensor([0, 0, 0, 1, 1, 1]))
    >>> pool.class_counts()
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
        classes = torch.zeros(len(z), dtype=torch.int64, device=z.device) if labels is None else class_index(labels)
        self.labels, order = torch.sort(classes, stable=True)
        self.z = z[order]
        self.labelled = labels is not None
        self.num_classes = num_classes
        self.fitted = fitted

    @classmethod
    def of_batch(cls, latents: Latents) -> LatentPool:
        """The batch as its own pool."""
        if len(latents) < 2:
            raise PartnerError(
                "this policy combines samples, and got a batch of one and no pool; "
                "call augment.fit(dataset) first, or give batches"
            )
        soft = latents.labels is not None and latents.labels.ndim == 2
        classes = latents.labels.shape[1] if soft else None  # type: ignore[union-attr]
        return cls(latents.z.detach(), latents.labels, classes, fitted=False)

    def __len__(self) -> int:
        return len(self.z)

    def to(self, device: torch.device | str) -> LatentPool:
        """The pool on a device; itself when it is there already."""
        if self.z.device == torch.device(device):
            return self
        labels = self.labels.to(device) if self.labelled else None
        moved = LatentPool(self.z.to(device), labels, self.num_classes, fitted=self.fitted)
        if "classifier" in self.__dict__ and self.classifier is not None:
            moved.__dict__["classifier"] = self.classifier.to(device)
        return moved

    def class_counts(self) -> dict[int, int]:
        """How many samples each class has."""
        classes, counts = self.labels.unique_consecutive(return_counts=True)
        return dict(zip(classes.tolist(), counts.tolist(), strict=True))

    def require(self, each: int, policy: str) -> None:
        """`PartnerError` unless every class has at least `each` samples."""
        for label, count in self.class_counts().items():
            if count < each:
                raise PartnerError(
                    f"{policy} needs {each} samples of each class, and class {label} has {count}; "
                    "give more images of it, leave the class out, or use gaussian"
                )

    def partners(
        self, latents: Latents, random: SampleRandom, *, same_class: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A random other sample for each sample: latents (B, *L) and class numbers (B,)."""
        start, count = self._candidates(latents, same_class)
        pick = (random.uniform() * count).long().minimum(count - 1).clamp_min(0)
        row = start + pick
        itself = self._distance(latents.z, self.z[row]) < SAME
        row = torch.where(itself, start + (pick + 1) % count.clamp_min(1), row)
        row = row.clamp_max(len(self) - 1)  # on an accelerator, where a missing class is not looked for
        return self.z[row], self.labels[row]

    def neighbours(
        self, latents: Latents, random: SampleRandom, k: int, *, same_class: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One of the k nearest other samples of each sample, each with equal chance."""
        self._candidates(latents, same_class)  # raises for a class that the pool lacks
        classes = self._classes(latents) if same_class and self.labelled else None
        nearest, rows = self.nearest(latents.z, k + 1, classes)
        itself = (nearest[:, :1] < SAME).long().squeeze(1)
        usable = (nearest.isfinite().sum(1) - itself).clamp_max(k)
        pick = (random.uniform() * usable).long().minimum(usable - 1).clamp_min(0) + itself
        pick = torch.where(usable > 0, pick, torch.zeros_like(pick))
        row = rows.gather(1, pick[:, None]).squeeze(1)
        return self.z[row], self.labels[row]

    def nearest(
        self, z: torch.Tensor, k: int, classes: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The k nearest samples (at most all) of each latent (B, *L): distances (B,k), ascending, and rows (B,k).

        The distance is the root mean square over the dimensions. classes: int64 (B,), where only samples of that
        class count; missing ones are at infinity. The search is exact, one matrix product and a few candidates more.
        """
        k = min(k, len(self))
        step = max(1, _TABLE // max(len(self), (k + _MARGIN) * self.z[0].numel()))
        parts = [
            self._nearest(part, k, None if classes is None else classes[at * step : (at + 1) * step])
            for at, part in enumerate(z.split(step))
        ]
        return torch.cat([distance for distance, _ in parts]), torch.cat([rows for _, rows in parts])

    def _nearest(self, z: torch.Tensor, k: int, classes: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        flat, real = z.detach().flatten(1), self.z.flatten(1)
        # Squared distances, but for a term of the row; around the centre, where products round least.
        table = torch.addmm(self._squares, flat - self._centre, real.T, alpha=-2)
        if classes is not None:
            table = table.masked_fill(classes[:, None] != self.labels, torch.inf)
        rough, rows = table.topk(min(k + _MARGIN, len(self)), largest=False)
        # They round all the same: the few candidates are measured again, pair by pair; equal ones come in row order.
        rows, order = rows.sort(1)
        missing = rough.gather(1, order).isinf()
        distance = (flat[:, None] - real[rows]).square().mean(2).sqrt().masked_fill(missing, torch.inf)
        distance, order = distance.sort(dim=1, stable=True)
        return distance[:, :k], rows.gather(1, order[:, :k])

    @cached_property
    def classifier(self) -> LatentClassifier | None:
        """Fitted on the pool when it is first asked for; None without labels or with one class."""
        if not self.labelled or len(self.class_counts()) < 2:
            return None
        return LatentClassifier(self.z, self.labels)

    @cached_property
    def _centre(self) -> torch.Tensor:
        return self.z.flatten(1).mean(0)

    @cached_property
    def _squares(self) -> torch.Tensor:
        return (self.z.flatten(1) - self._centre).square().sum(1)

    def _candidates(self, latents: Latents, same_class: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """For each sample the first row and the number of rows it may be paired with."""
        if not (same_class and self.labelled):
            zero = torch.zeros(len(latents), dtype=torch.int64, device=latents.z.device)
            return zero, zero + len(self)
        classes = self._classes(latents)
        start = torch.searchsorted(self.labels, classes)
        count = torch.searchsorted(self.labels, classes, right=True) - start
        if classes.device.type == "cpu" and bool((count == 0).any()):
            missing = sorted(set(classes[count == 0].tolist()))
            raise PartnerError(
                f"the pool has no sample of class {missing[0]}; it has classes {list(self.class_counts())}: "
                "fit it on data with the same labels"
            )
        return start, count

    def _classes(self, latents: Latents) -> torch.Tensor:
        if latents.labels is None:
            raise PartnerError(
                "the pool is labelled and the samples are not; pass their labels (labels_getter, or labels=), "
                "or use same_class=False"
            )
        return class_index(latents.labels).contiguous()

    @staticmethod
    def _distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).flatten(1).square().mean(1).sqrt()
