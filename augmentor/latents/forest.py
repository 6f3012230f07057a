"""Search for a few dozen rows that may be near a latent, without comparing it with all rows."""

from __future__ import annotations

import math

import torch

from .._internal.random import SampleRandom, sample_keys

_TREES, _LEAF = 4, 8


class Forest:
    """Random projection trees over the rows of a large table (Dasgupta and Freund 2008), on the CPU.

    A tree halves the rows at the median along one random direction per level, until a leaf has at most 8 rows. Four
    trees give at most 32 candidates. A near-copy of a row is almost always in the same leaf as the row; more distant
    neighbours may be missed.

    rows: float (N, D), without NaN.

    For 64 or 256 latents among 100,000 rows of 16 to 512 dimensions a search takes 6 to 43 ms. A matrix product with
    `topk` takes 3 to 25 times as long, scikit-learn's brute force 4 to 38 times, and its trees at least 43 times
    (`benchmarks/results/neighbours.json`).
    """

    def __init__(self, rows: torch.Tensor):
        count, width = rows.shape
        self.count = count
        depth = max(0, math.ceil(math.log2(count / _LEAF)))
        # All leaves have the same size: unused places hold `count`, which is not a row and is sorted after all rows.
        places = 2**depth * math.ceil(count / 2**depth)
        random = SampleRandom(sample_keys(0, 0, range(_TREES * depth)))
        self._directions = random.normal(width).to(rows).T
        along = torch.cat([rows @ self._directions, rows.new_full((1, _TREES * depth), torch.inf)])
        trees = [_halve(along[:, tree * depth :][:, :depth], places) for tree in range(_TREES)]
        self._leaves = torch.stack([leaves for leaves, _ in trees])
        self._cuts = [torch.stack(level) for level in zip(*(cuts for _, cuts in trees), strict=True)]

    def candidates(self, z: torch.Tensor) -> torch.Tensor:
        """Return rows that may be near latents (B, D), int64 (B, C); `count` in unused places."""
        along = (z @ self._directions).T.unflatten(0, (_TREES, -1))
        node = torch.zeros(_TREES, len(z), dtype=torch.int64)
        for level, cuts in enumerate(self._cuts):
            node = 2 * node + (along[:, level] > cuts.gather(1, node))
        return torch.cat([leaves[at] for leaves, at in zip(self._leaves, node, strict=True)], 1)


def _halve(along: torch.Tensor, places: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the leaves (2^depth, size) of a tree and its cuts, (2^level,) per level. along: (rows + 1, depth)."""
    last, cuts = len(along) - 1, []
    order = torch.arange(places).clamp_max(last)
    for level in range(along.shape[1]):
        nodes = order.view(2**level, -1)
        values, rank = along[nodes, level].sort(1)
        half = nodes.shape[1] // 2
        cuts.append((values[:, half - 1] + values[:, half]) / 2)
        order = nodes.gather(1, rank).flatten()
    return order.view(2 ** along.shape[1], -1), cuts
