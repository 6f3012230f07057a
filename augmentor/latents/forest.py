"""A few dozen rows that may be near a latent, found without looking at the others."""

from __future__ import annotations

import math

import torch

from .._internal.random import SampleRandom, sample_keys

_TREES, _LEAF = 4, 8


class Forest:
    """Random projection trees over the rows of a large table (Dasgupta and Freund 2008), on the CPU.

    A tree halves the rows at the median along a random direction, one a level, until at most 8 are together. Four
    trees give at most 32 candidates. What is all but a copy of a row shares a leaf with it almost surely; further away
    a neighbour may be missed. rows: float (N, D), without a NaN.

    For 64 or 256 latents among 100,000 rows of 16 to 512 dimensions it takes 6 to 43 ms; a matrix product with `topk`
    takes 3 to 25 times as long, scikit-learn's brute force 4 to 38 times, its trees 43 times and more
    (`benchmarks/results/neighbours.json`).
    """

    def __init__(self, rows: torch.Tensor):
        count, width = rows.shape
        self.count = count
        depth = max(0, math.ceil(math.log2(count / _LEAF)))
        # Equal leaves: the last places of a tree hold the number `count`, which is no row, and stands behind all.
        places = 2**depth * math.ceil(count / 2**depth)
        random = SampleRandom(sample_keys(0, 0, range(_TREES * depth)))
        self._directions = random.normal(width).to(rows).T
        along = torch.cat([rows @ self._directions, rows.new_full((1, _TREES * depth), torch.inf)])
        trees = [_halve(along[:, tree * depth :][:, :depth], places) for tree in range(_TREES)]
        self._leaves = torch.stack([leaves for leaves, _ in trees])
        self._cuts = [torch.stack(level) for level in zip(*(cuts for _, cuts in trees), strict=True)]

    def candidates(self, z: torch.Tensor) -> torch.Tensor:
        """For latents (B, D) rows that may be near, int64 (B, C); `count` where there is no further one."""
        along = (z @ self._directions).T.unflatten(0, (_TREES, -1))
        node = torch.zeros(_TREES, len(z), dtype=torch.int64)
        for level, cuts in enumerate(self._cuts):
            node = 2 * node + (along[:, level] > cuts.gather(1, node))
        return torch.cat([leaves[at] for leaves, at in zip(self._leaves, node, strict=True)], 1)


def _halve(along: torch.Tensor, places: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Leaves (2^depth, size) of a tree, and where it cuts, (2^level,) a level. along: (rows and one behind, depth)."""
    last, cuts = len(along) - 1, []
    order = torch.arange(places).clamp_max(last)
    for level in range(along.shape[1]):
        nodes = order.view(2**level, -1)
        values, rank = along[nodes, level].sort(1)
        half = nodes.shape[1] // 2
        cuts.append((values[:, half - 1] + values[:, half]) / 2)
        order = nodes.gather(1, rank).flatten()
    return order.view(2 ** along.shape[1], -1), cuts
