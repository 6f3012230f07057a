"""Processing of large images in overlapping tiles: memory for feature maps does not depend on the image size.

The output of a convolutional network depends on a limited neighbourhood, its receptive field. A tile with a margin of
that size gives the same values inside the margin as the whole image, up to rounding. The tiles depend only on the size
of the image, so the result is the same in every batch, worker and process.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

# Pixels per side. Larger tiles are slower on a CPU (their feature maps do not fit into its caches), and smaller tiles
# have more margins to compute.
TILE = 512

Maps = Sequence[torch.Tensor]  # each (B,C,H,W)
Span = tuple[int, int]  # from the first cell to the one after the last


class Tile(NamedTuple):
    """One tile along an axis: the cells that the network receives, and those whose results are kept."""

    seen: Span
    kept: Span

    @property
    def inner(self) -> Span:
        """Kept cells, counted from the start of the tile."""
        return self.kept[0] - self.seen[0], self.kept[1] - self.seen[0]


def tiles(length: int, largest: int, margin: int) -> list[Tile]:
    """Return the fewest tiles of equal size, at most `largest`, that together keep every cell of an axis.

    A tile contains `margin` cells around its kept cells, except at the two ends of the axis.

    >>> tiles(20, largest=12, margin=2)
    [Tile(seen=(0, 12), kept=(0, 10)), Tile(seen=(8, 20), kept=(10, 20))]
    >>> tiles(12, largest=12, margin=2)
    [Tile(seen=(0, 12), kept=(0, 12))]
    """
    if length <= largest:
        return [Tile((0, length), (0, length))]
    inside = length - 2 * margin
    step = math.ceil(inside / math.ceil(inside / (largest - 2 * margin)))
    size = step + 2 * margin
    begins = [min(begin, length - size) for begin in range(0, inside, step)]
    cuts = [0, *(begin + margin for begin in begins[1:]), length]
    return [Tile((b, b + size), kept) for b, kept in zip(begins, itertools.pairwise(cuts), strict=True)]


def in_tiles(
    network: Callable[[torch.Tensor], Maps], x: torch.Tensor, grid: Sequence[int], largest: int, margin: int
) -> Maps:
    """Return ``network(x)``; if the grid is larger than a tile, process one image and one tile at a time.

    grid: (h, w), the number of cells. x (B,C,H,W) and the outputs of the network have an integer number of pixels per
    cell. largest, margin: size and margin of a tile, in cells. Gradients flow as through the network.
    """
    rows, columns = (tiles(length, largest, margin) for length in grid)
    if len(rows) == len(columns) == 1 or len(x) == 0:
        return network(x)
    size = rows[0].seen[1], columns[0].seen[1]
    wholes: list[torch.Tensor] = []
    for i, row, column in itertools.product(range(len(x)), rows, columns):
        parts = network(_cells(x[i : i + 1], grid, row.seen, column.seen))
        wholes = wholes or [_blank(part, size, len(x), grid) for part in parts]
        for whole, part in zip(wholes, parts, strict=True):
            kept = _cells(part, size, row.inner, column.inner)
            _cells(whole[i : i + 1], grid, row.kept, column.kept).copy_(kept)
    return wholes


def _cells(maps: torch.Tensor, grid: Sequence[int], rows: Span, columns: Span) -> torch.Tensor:
    """Return the pixels of these cells of the grid, as a view."""
    scale = maps.shape[-1] // grid[1]
    top, bottom, left, right = (scale * place for place in (*rows, *columns))
    return maps[..., top:bottom, left:right]


def _blank(part: torch.Tensor, size: Sequence[int], count: int, grid: Sequence[int]) -> torch.Tensor:
    """Allocate the maps of `count` whole images, of which `part` is a tile of `size` cells."""
    scale = part.shape[-1] // size[1]
    return part.new_empty(count, part.shape[1], *(scale * length for length in grid))
