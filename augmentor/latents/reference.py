"""The samples that a policy may combine a sample with: a fitted reference set of latents, or else the batch itself."""

from __future__ import annotations

from functools import cached_property

import torch

from .._internal.random import SampleRandom
from ..exceptions import ReferenceSetError
from .batch import Latents, class_index
from .classifier import LatentClassifier
from .neighbours import SAME, Neighbours


class ReferenceSet(Neighbours):
    """Standard latents of real samples, kept sorted by class so that a reference sample is found in constant time.

    z: float (N, *L). labels: int64 (N,), or None, which makes all samples one class. num_classes: K, or None where
    it is not known. fitted: False for a reference set that is just the current batch.

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
        classes = torch.zeros(len(z), dtype=torch.int64, device=z.device) if labels is None else class_index(labels)
        classes, order = torch.sort(classes, stable=True)
        super().__init__(z[order], classes)
        self.labelled = labels is not None
        self.num_classes = num_classes
        self.fitted = fitted

    @classmethod
    def of_batch(cls, latents: Latents) -> ReferenceSet:
        """The batch as its own reference set."""
        if len(latents) < 2:
            raise ReferenceSetError(
                "this policy combines samples, and got a batch of one and no reference set; "
                "call augment.fit(dataset) first, or give batches"
            )
        soft = latents.labels is not None and latents.labels.ndim == 2
        classes = latents.labels.shape[1] if soft else None  # type: ignore[union-attr]
        return cls(latents.z.detach(), latents.labels, classes, fitted=False)

    def to(self, device: torch.device | str) -> ReferenceSet:
        """The reference set on a device; itself when it is there already."""
        if self.z.device == torch.device(device):
            return self
        labels = self.labels.to(device) if self.labelled else None
        moved = ReferenceSet(self.z.to(device), labels, self.num_classes, fitted=self.fitted)
        if "classifier" in self.__dict__ and self.classifier is not None:
            moved.__dict__["classifier"] = self.classifier.to(device)
        return moved

    def class_counts(self) -> dict[int, int]:
        """How many samples each class has."""
        classes, counts = self.labels.unique_consecutive(return_counts=True)
        return dict(zip(classes.tolist(), counts.tolist(), strict=True))

    def require(self, each: int, policy: str) -> None:
        """`ReferenceSetError` unless every class has at least `each` samples."""
        for label, count in self.class_counts().items():
            if count < each:
                raise ReferenceSetError(
                    f"{policy} needs {each} samples of each class, and class {label} has {count}; "
                    "give more images of it, leave the class out, or use gaussian"
                )

    def random_samples(
        self, latents: Latents, random: SampleRandom, *, same_class: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A random other sample for each sample: latents (B, *L) and class numbers (B,)."""
        start, count = self._class_range(latents, same_class)
        pick = (random.uniform() * count).long().minimum(count - 1).clamp_min(0)
        row = start + pick
        itself = (latents.z - self.z[row]).flatten(1).square().mean(1).sqrt() < SAME
        row = torch.where(itself, start + (pick + 1) % count.clamp_min(1), row)
        row = row.clamp_max(len(self) - 1)  # on an accelerator, where a missing class is not looked for
        return self.z[row], self.labels[row]

    def neighbours(
        self, latents: Latents, random: SampleRandom, k: int, *, same_class: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A random one of the k nearest other samples of each sample: latents (B, *L) and class numbers (B,)."""
        self._class_range(latents, same_class)  # raises for a class that the reference set lacks
        classes = self._classes(latents) if same_class and self.labelled else None
        nearest, rows = (self.looked_up if self._recurs else self.nearest)(latents.z, k + 1, classes)
        itself = (nearest[:, :1] < SAME).long().squeeze(1)
        usable = (nearest.isfinite().sum(1) - itself).clamp_max(k)
        pick = (random.uniform() * usable).long().minimum(usable - 1).clamp_min(0) + itself
        pick = torch.where(usable > 0, pick, torch.zeros_like(pick))
        row = rows.gather(1, pick[:, None]).squeeze(1)
        return self.z[row], self.labels[row]

    def origin(self, z: torch.Tensor) -> torch.Tensor:
        """The row that each latent (B, *L) of a real sample is, or else is nearest to: int64 (B,)."""
        if not self._recurs:
            return self.nearest(z, 1)[1].squeeze(1)
        rows = self.find(z)
        others = (rows < 0).nonzero().squeeze(1)
        if len(others):
            rows[others] = self.nearest(z[others], 1)[1].squeeze(1)
        return rows

    @cached_property
    def classifier(self) -> LatentClassifier | None:
        """Fitted on the reference set when it is first asked for; None without labels or with one class."""
        if not self.labelled or len(self.class_counts()) < 2:
            return None
        return LatentClassifier(self.z, self.labels)

    @property
    def _recurs(self) -> bool:
        """Whether to look samples up: those of a fitted reference set recur, and on the CPU the host does not wait."""
        return self.fitted and self.z.device.type == "cpu"

    def _class_range(self, latents: Latents, same_class: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """For each sample the first row and the number of rows it may be paired with."""
        if not (same_class and self.labelled):
            zero = torch.zeros(len(latents), dtype=torch.int64, device=latents.z.device)
            return zero, zero + len(self)
        classes = self._classes(latents)
        start = torch.searchsorted(self.labels, classes)
        count = torch.searchsorted(self.labels, classes, right=True) - start
        if classes.device.type == "cpu" and bool((count == 0).any()):
            missing = sorted(set(classes[count == 0].tolist()))
            raise ReferenceSetError(
                f"the reference set has no sample of class {missing[0]}; it has classes {list(self.class_counts())}: "
                "fit it on data with the same labels"
            )
        return start, count

    def _classes(self, latents: Latents) -> torch.Tensor:
        if latents.labels is None:
            raise ReferenceSetError(
                "the reference set is labelled and the samples are not; pass their labels (labels_getter, or labels=), "
                "or use same_class=False"
            )
        return class_index(latents.labels).contiguous()
