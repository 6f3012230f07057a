"""The samples that a policy may combine a sample with: a fitted reference set of latents, or else the batch itself."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F

from .._internal.random import SampleRandom, sample_keys
from ..exceptions import ReferenceSetError
from .batch import Latents, class_index
from .classifier import LatentClassifier
from .forest import Forest

# Standard latents closer than this (root mean square over the dimensions) are the same image.
SAME = 1e-3

# A table has at most this many entries at a time; on the CPU distances are looked at while they are in its cache.
_TABLE = 1 << 24
_BLOCK = 2048
# Candidates looked at beyond those asked for, as matrix products round.
_MARGIN = 8
# In a large set of rows candidates are found by the group.
_LARGE, _GROUP = 1 << 14, 8
# A sample of the reference set is found by its place along a line, among so many rows to either side.
_AROUND = 2


class ReferenceSet:
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
        self.labels, order = torch.sort(classes, stable=True)
        self.z = z[order]
        self.labelled = labels is not None
        self.num_classes = num_classes
        self.fitted = fitted
        self._tables: dict[tuple[int, bool], tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

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

    def __len__(self) -> int:
        return len(self.z)

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
        self._candidates(latents, same_class)  # raises for a class that the reference set lacks
        classes = self._classes(latents) if same_class and self.labelled else None
        nearest, rows = self._remembered(latents.z, k + 1, classes)
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
        class count; missing ones are at infinity. The search is exact: matrix products, and a few candidates measured.
        """
        k = min(k, len(self))
        if classes is None or z.device.type != "cpu":
            return self._nearest(z, k, 0, len(self), classes)
        # The rows of a class stand together, so only they are searched; the rows of others are at infinity.
        distance, rows = z.new_full((len(z), k), torch.inf, dtype=torch.float32), torch.zeros(len(z), k).long()
        for label in classes.unique():
            places = (classes == label).nonzero().squeeze(1)
            first, end = (int(torch.searchsorted(self.labels, label, right=right)) for right in (False, True))
            count = min(k, end - first)
            if count:
                distance[places, :count], rows[places, :count] = self._nearest(z[places], count, first, end)
            rows[places, count:] = (end + torch.arange(k - count)) % len(self)
        return distance, rows

    def nearby(self, z: torch.Tensor, k: int, origin: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """What `nearest` says; in a large reference set on the CPU the nearest of a few dozen candidates, in no time.

        There it is a bound from above: a neighbour may be missed, but for what is all but a copy of it. Distances are
        then to be compared with others that `nearby` gave. origin: rows (B,) that are looked at in any case.
        """
        if z.device.type != "cpu" or len(self) <= _LARGE:
            return self.nearest(z, k)
        flat, candidates = z.detach().flatten(1), self._forest.candidates(z.detach().flatten(1))
        if origin is not None:
            candidates = torch.cat([candidates, origin[:, None]], 1)
        candidates = candidates.sort(1).values
        missing = candidates == len(self)
        missing[:, 1:] |= candidates[:, 1:] == candidates[:, :-1]
        candidates = candidates.clamp_max(len(self) - 1)
        distance = self._measured(flat, candidates).masked_fill_(missing, torch.inf)
        distance, order = distance.topk(min(k, candidates.shape[1]), largest=False)
        return distance, candidates.gather(1, order)

    def origin(self, z: torch.Tensor) -> torch.Tensor:
        """The row that each latent of a real sample is, or else is nearest to: int64 (B,)."""
        if z.device.type != "cpu":
            return self.nearest(z, 1)[1].squeeze(1)
        rows = self._rows_of(z)
        others = (rows < 0).nonzero().squeeze(1)
        if len(others):
            rows[others] = self.nearest(z[others], 1)[1].squeeze(1)
        return rows

    def _remembered(self, z: torch.Tensor, k: int, classes: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """What `nearest` says. For samples of a fitted reference set on the CPU it is looked up once, and then known."""
        k = min(k, len(self))
        row = self._rows_of(z)
        if classes is not None:
            row = torch.where(self.labels[row] == classes, row, -1)
        if z.device.type != "cpu" or bool((row < 0).all()):
            return self.nearest(z, k, classes)
        known, distances, rows = self._table(k, classes is not None)
        new = row[(row >= 0) & ~known[row]].unique()
        if len(new):
            distances[new], rows[new] = self.nearest(self.z[new], k, None if classes is None else self.labels[new])
            known[new] = True
        distance, found = distances[row], rows[row]
        others = (row < 0).nonzero().squeeze(1)
        if len(others):
            distance[others], found[others] = self.nearest(z[others], k, None if classes is None else classes[others])
        return distance, found

    def _table(self, k: int, by_class: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of which rows the neighbours are known, and these: distances and rows, (N,k)."""
        if (k, by_class) not in self._tables:
            known, rows = torch.zeros(len(self), dtype=torch.bool), torch.zeros(len(self), k).long()
            self._tables[k, by_class] = known, torch.zeros(len(self), k), rows
        return self._tables[k, by_class]

    def _rows_of(self, z: torch.Tensor) -> torch.Tensor:
        """Which row of the reference set each latent is, int64 (B,); -1 for others, and where that is not worth a look."""
        if not self.fitted or z.device.type != "cpu":
            return torch.full((len(z),), -1, device=z.device)
        flat = z.detach().flatten(1)
        order, along, direction = self._line
        place = torch.searchsorted(along, flat.to(direction.dtype) @ direction)
        near = order[(place[:, None] + torch.arange(-_AROUND, _AROUND)).clamp(0, len(self) - 1)]
        distance, at = self._measured(flat, near).min(1)
        return torch.where(distance < SAME, near.gather(1, at[:, None]).squeeze(1), -1)

    @cached_property
    def _line(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The rows in the order in which they stand along some direction, where they stand, and the direction."""
        direction = SampleRandom(sample_keys(0, 0, 0)).normal(self.z[0].numel())[0].to(self.z)
        along, order = (self.z.flatten(1) @ direction).sort(stable=True)
        return order, along, direction

    @cached_property
    def _forest(self) -> Forest:
        return Forest(self.z.flatten(1))

    def _nearest(
        self, z: torch.Tensor, k: int, first: int, end: int, classes: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The k nearest of the rows from `first` to `end`, some latents at a time."""
        group = _GROUP if z.device.type == "cpu" and end - first > _LARGE else 1
        width = (end - first) // group if z.device.type == "cpu" else end - first
        step = max(1, _TABLE // max(width, (k + _MARGIN) * group * self.z[0].numel()))
        parts = [
            self._nearest_of(part, k, first, end, group, None if classes is None else classes[at * step :][:step])
            for at, part in enumerate(z.detach().flatten(1).split(step))
        ]
        return torch.cat([distance for distance, _ in parts]), torch.cat([rows for _, rows in parts])

    def _nearest_of(
        self, flat: torch.Tensor, k: int, first: int, end: int, group: int, classes: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        real, least = self.z.flatten(1), []
        block = _BLOCK if flat.device.type == "cpu" else end - first
        for at in range(first, end, block):
            rows = slice(at, min(at + block, end))
            # Squared distances, but for a term of the row; around the centre, where products round least.
            table = torch.addmm(self._squares[rows], flat - self._centre, real[rows].T, alpha=-2)
            if classes is not None:
                table = table.masked_fill(classes[:, None] != self.labels[rows], torch.inf)
            table = F.pad(table, (0, -table.shape[1] % group), value=torch.inf)
            least.append(table if group == 1 else table.unflatten(1, (-1, group)).amin(2))
        table = torch.cat(least, 1)
        rough, groups = table.topk(min(k + _MARGIN, table.shape[1]), largest=False)
        # They round all the same: the few candidates are measured again, pair by pair; equal ones come in row order.
        candidates = first + groups[:, :, None] * group + torch.arange(group, device=flat.device)
        candidates, order = candidates.flatten(1).sort(1)
        missing = rough.isinf().repeat_interleave(group, 1).gather(1, order) | (candidates >= end)
        candidates = candidates.clamp_max(end - 1)
        distance = self._measured(flat, candidates).masked_fill(missing, torch.inf)
        distance, order = distance.sort(dim=1, stable=True)
        return distance[:, :k], candidates.gather(1, order[:, :k])

    def _measured(self, flat: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Distances (B,C) from latents (B,D) to rows (B,C) of the reference set, pair by pair."""
        real = self.z.flatten(1).index_select(0, rows.flatten()).unflatten(0, rows.shape)  # faster than an index
        pairs = torch.cdist(flat[:, None], real, compute_mode="donot_use_mm_for_euclid_dist")
        return pairs.squeeze(1) / flat.shape[1] ** 0.5

    @cached_property
    def classifier(self) -> LatentClassifier | None:
        """Fitted on the reference set when it is first asked for; None without labels or with one class."""
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

    @staticmethod
    def _distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).flatten(1).square().mean(1).sqrt()
