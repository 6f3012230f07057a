"""The search for the nearest rows of a reference set: exact, among a few candidates, or looked up.

`benchmarks/neighbours.py` measures all three beside scikit-learn, among 100,000 rows.
"""

from __future__ import annotations

from functools import cached_property

import torch

from .._internal.random import SampleRandom, sample_keys
from .forest import Forest

# Standard latents closer than this (root mean square over the dimensions) are the same image.
SAME = 1e-3

# A table of distances has at most this many entries at a time.
_TABLE = 1 << 24
# On the CPU the rows are searched in blocks of this size, so that the distances to one stay in the processor's cache.
_BLOCK = 1 << 12
# Matrix products round, so that more candidates than asked for are measured again.
_MARGIN = 8
# Among more rows than these `nearby` takes its candidates from a forest.
_LARGE = 1 << 14
# A latent is looked up among so many rows on either side of its place along a line.
_AROUND = 2

Found = tuple[torch.Tensor, torch.Tensor]  # distances (B, k), ascending, and rows int64 (B, k)


class Neighbours:
    """Latents sorted by class, and the search for those nearest to other latents.

    z: float (N, *L). labels: int64 (N,), ascending. A distance is the root mean square over the dimensions.

    >>> search = Neighbours(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 0, 1]))
    >>> search.nearest(torch.tensor([[0.75]]), 2)
    (tensor([[0.2500, 0.7500]]), tensor([[1, 0]]))
    """

    def __init__(self, z: torch.Tensor, labels: torch.Tensor):
        self.z, self.labels = z, labels
        self._known: dict[tuple[int, bool], Found] = {}

    def __len__(self) -> int:
        return len(self.z)

    def nearest(self, z: torch.Tensor, k: int, classes: torch.Tensor | None = None) -> Found:
        """The k nearest rows (at most all) of each latent (B, *L), exactly; equally near ones in the order of rows.

        classes: int64 (B,), where only rows of that class count; missing ones are at infinity.
        """
        z, k = z.detach().flatten(1), min(k, len(self))
        if classes is None or z.device.type != "cpu":
            return self._nearest_within(z, k, 0, len(self), classes)
        # The rows of a class stand together, so only they are searched.
        distance, rows = z.new_full((len(z), k), torch.inf, dtype=torch.float32), torch.zeros(len(z), k).long()
        for label in classes.unique():
            places = (classes == label).nonzero().squeeze(1)
            first, end = (int(torch.searchsorted(self.labels, label, right=right)) for right in (False, True))
            count = min(k, end - first)
            if count:
                distance[places, :count], rows[places, :count] = self._nearest_within(z[places], count, first, end)
            rows[places, count:] = (end + torch.arange(k - count)) % len(self)
        return distance, rows

    def nearby(self, z: torch.Tensor, k: int, origin: torch.Tensor | None = None) -> Found:
        """`nearest`; among more than 16,384 rows on the CPU, the nearest of a few dozen candidates.

        A neighbour may be missing there, unless it is all but a copy, so that distances are upper bounds: compare them
        with others from `nearby`. origin: int64 (B,), rows that are candidates in any case.
        """
        if z.device.type != "cpu" or len(self) <= _LARGE:
            return self.nearest(z, k)
        z = z.detach().flatten(1)
        candidates = self._forest.candidates(z)
        if origin is not None:
            candidates = torch.cat([candidates, origin[:, None]], 1)
        candidates = candidates.sort(1).values
        missing = candidates == len(self)
        missing[:, 1:] |= candidates[:, 1:] == candidates[:, :-1]
        candidates = candidates.clamp_max(len(self) - 1)
        distance = self._measured(z, candidates).masked_fill_(missing, torch.inf)
        distance, order = distance.topk(min(k, candidates.shape[1]), largest=False)
        return distance, candidates.gather(1, order)

    def find(self, z: torch.Tensor) -> torch.Tensor:
        """The row that each latent (B, *L) is, int64 (B,), on the CPU; -1 for one that is no row, or is not found."""
        z = z.detach().flatten(1)
        order, along, direction = self._line
        place = torch.searchsorted(along, z.to(direction.dtype) @ direction)
        near = order[(place[:, None] + torch.arange(-_AROUND, _AROUND)).clamp(0, len(self) - 1)]
        distance, at = self._measured(z, near).min(1)
        return torch.where(distance < SAME, near.gather(1, at[:, None]).squeeze(1), -1)

    def looked_up(self, z: torch.Tensor, k: int, classes: torch.Tensor | None = None) -> Found:
        """`nearest`, on the CPU, where the neighbours of each row under its own class are remembered once found."""
        z, k, row = z.detach().flatten(1), min(k, len(self)), self.find(z)
        if classes is not None:
            row = torch.where(self.labels[row] == classes, row, -1)
        if (k, classes is not None) not in self._known:
            shape = len(self), k
            self._known[k, classes is not None] = torch.full(shape, torch.nan), torch.zeros(shape, dtype=torch.int64)
        distances, rows = self._known[k, classes is not None]
        distance, found = distances[row], rows[row]
        new = ((row < 0) | distance[:, 0].isnan()).nonzero().squeeze(1)
        if len(new):
            # Searched for is the row itself, because what is remembered must not depend on who asked first.
            asked = torch.where(row[new, None] < 0, z[new], self._rows[row[new]])
            distance[new], found[new] = self.nearest(asked, k, None if classes is None else classes[new])
            own = new[row[new] >= 0]
            distances[row[own]], rows[row[own]] = distance[own], found[own]
        return distance, found

    def _nearest_within(
        self, z: torch.Tensor, k: int, first: int, end: int, classes: torch.Tensor | None = None
    ) -> Found:
        """The k nearest of the rows from `first` to `end`, for some latents at a time."""
        block = _BLOCK if z.device.type == "cpu" else end - first
        step = max(1, _TABLE // max(min(block, end - first), (k + _MARGIN) * z.shape[1]))
        parts = [
            self._nearest_of(part, k, first, end, block, None if classes is None else classes[at * step :][:step])
            for at, part in enumerate(z.split(step))
        ]
        return torch.cat([distance for distance, _ in parts]), torch.cat([rows for _, rows in parts])

    def _nearest_of(
        self, z: torch.Tensor, k: int, first: int, end: int, block: int, classes: torch.Tensor | None
    ) -> Found:
        count = min(k + _MARGIN, end - first)
        rough, candidates = [], []
        for at in range(first, end, block):
            part = slice(at, min(at + block, end))
            # Squared distances, but for a term of the latent; around the centre, where products round least.
            table = torch.addmm(self._squares[part], z - self._centre, self._rows[part].T, alpha=-2)
            if classes is not None:
                table = table.masked_fill(classes[:, None] != self.labels[part], torch.inf)
            least, places = table.topk(min(count, table.shape[1]), largest=False)
            rough.append(least)
            candidates.append(at + places)
        least, order = torch.cat(rough, 1).topk(count, largest=False)
        # They round all the same: the candidates are measured again, pair by pair.
        rows, order = torch.cat(candidates, 1).gather(1, order).sort(1)
        distance = self._measured(z, rows).masked_fill(least.isinf().gather(1, order), torch.inf)
        distance, order = distance.sort(dim=1, stable=True)
        return distance[:, :k], rows.gather(1, order[:, :k])

    def _measured(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Distances (B, C) from latents (B, D) to rows (B, C), pair by pair."""
        real = self._rows.index_select(0, rows.flatten()).unflatten(0, rows.shape)  # faster than an index
        pairs = torch.cdist(z[:, None], real, compute_mode="donot_use_mm_for_euclid_dist")
        return pairs.squeeze(1) / z.shape[1] ** 0.5

    @property
    def _rows(self) -> torch.Tensor:
        return self.z.flatten(1)

    @cached_property
    def _centre(self) -> torch.Tensor:
        return self._rows.mean(0)

    @cached_property
    def _squares(self) -> torch.Tensor:
        return (self._rows - self._centre).square().sum(1)

    @cached_property
    def _line(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The rows in the order in which they stand along some direction, where they stand, and the direction."""
        direction = SampleRandom(sample_keys(0, 0, 0)).normal(self._rows.shape[1])[0].to(self._rows)
        along, order = (self._rows @ direction).sort(stable=True)
        return order, along, direction

    @cached_property
    def _forest(self) -> Forest:
        return Forest(self._rows)
