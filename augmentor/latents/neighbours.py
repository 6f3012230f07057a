"""Search for the nearest rows of a reference set: exact, among a few candidates, or looked up.

`benchmarks/neighbours.py` compares all three with scikit-learn, on 100,000 rows.
"""

from __future__ import annotations

from functools import cached_property

import torch

from .._internal.random import SampleRandom, sample_keys
from .forest import Forest

# Standardised latents closer than this (root mean square over the dimensions) are of the same image.
SAME = 1e-3

# A table of distances has at most this many entries at a time.
_TABLE = 1 << 24
# Rows per block on the CPU, so that the distances to a block fit into the cache.
_BLOCK = 1 << 12
# Matrix products round, so this many more candidates get exact distances.
_MARGIN = 8
# With more rows than this, `nearby` takes its candidates from a forest.
_LARGE = 1 << 14
# `find` compares a latent with this many rows on each side of its position along a line.
_AROUND = 2

Found = tuple[torch.Tensor, torch.Tensor]  # distances (B, k), ascending, and rows int64 (B, k)


class Neighbours:
    """Search for the nearest neighbours among latents that are sorted by class.

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
        """Return the exact k nearest rows (at most all) of each latent (B, *L); ties are in the order of rows.

        classes: int64 (B,), to search only rows of that class; missing neighbours have an infinite distance.
        """
        z, k = z.detach().flatten(1), min(k, len(self))
        if classes is None or z.device.type != "cpu":
            return self._nearest_within(z, k, 0, len(self), classes)
        # The rows of a class are contiguous, so only they are searched.
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
        """Return the result of `nearest`, or an approximation with more than 16,384 rows on the CPU.

        It is the nearest of a few dozen candidates. A neighbour may be missed, unless it is a near-copy, so distances
        are upper bounds: compare them only with others from `nearby`. origin: int64 (B,), rows that are always
        candidates.
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
        """Return the row equal to each latent (B, *L), int64 (B,), on the CPU; -1 if no such row is found."""
        z = z.detach().flatten(1)
        order, along, direction = self._line
        place = torch.searchsorted(along, z.to(direction.dtype) @ direction)
        near = order[(place[:, None] + torch.arange(-_AROUND, _AROUND)).clamp(0, len(self) - 1)]
        distance, at = self._measured(z, near).min(1)
        return torch.where(distance < SAME, near.gather(1, at[:, None]).squeeze(1), -1)

    def looked_up(self, z: torch.Tensor, k: int, classes: torch.Tensor | None = None) -> Found:
        """Return the result of `nearest`, on the CPU; it is cached for latents that are rows, with their own class."""
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
            # Search for the stored row, because a cached result must not depend on the order of calls.
            asked = torch.where(row[new, None] < 0, z[new], self._rows[row[new]])
            distance[new], found[new] = self.nearest(asked, k, None if classes is None else classes[new])
            own = new[row[new] >= 0]
            distances[row[own]], rows[row[own]] = distance[own], found[own]
        return distance, found

    def _nearest_within(
        self, z: torch.Tensor, k: int, first: int, end: int, classes: torch.Tensor | None = None
    ) -> Found:
        """Return the k nearest of the rows from `first` to `end`, in batches of latents."""
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
            # Squared distances up to a constant per latent; relative to the centre, to reduce rounding errors.
            table = torch.addmm(self._squares[part], z - self._centre, self._rows[part].T, alpha=-2)
            if classes is not None:
                table = table.masked_fill(classes[:, None] != self.labels[part], torch.inf)
            least, places = table.topk(min(count, table.shape[1]), largest=False)
            rough.append(least)
            candidates.append(at + places)
        least, order = torch.cat(rough, 1).topk(count, largest=False)
        # The products still round: distances of the candidates are computed again, pair by pair.
        rows, order = torch.cat(candidates, 1).gather(1, order).sort(1)
        distance = self._measured(z, rows).masked_fill(least.isinf().gather(1, order), torch.inf)
        distance, order = distance.sort(dim=1, stable=True)
        return distance[:, :k], rows.gather(1, order[:, :k])

    def _measured(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return distances (B, C) from latents (B, D) to rows (B, C), pair by pair."""
        real = self._rows.index_select(0, rows.flatten()).unflatten(0, rows.shape)  # faster than indexing
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
        """Rows ordered by their position along a random direction, these positions, and the direction."""
        direction = SampleRandom(sample_keys(0, 0, 0)).normal(self._rows.shape[1])[0].to(self._rows)
        along, order = (self._rows @ direction).sort(stable=True)
        return order, along, direction

    @cached_property
    def _forest(self) -> Forest:
        return Forest(self._rows)
