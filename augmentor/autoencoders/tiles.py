"""Large images in overlapping tiles, so that the memory for feature maps depends on the tile and not on the image.

The output of a network of convolutions depends on a limited neighbourhood, its receptive field. A tile with a margin
of that size gives the same values inside the margin as the whole image, up to rounding. The tiles depend on the size
of the image alone, so the result is the same in every batch, worker and process.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

# Pixels a side. Larger tiles are slower on a CPU (their feature maps do not fit in its caches), and smaller ones
# compute more margins.
TILE = 512

Maps = Sequence[torch.Tensor]  # each (B,C,H,W)
Span = tuple[int, int]  # from the first cell to the one after the last


class Tile(NamedTuple):
    """One tile along an axis: the cells that the network gets, and those of them whose results are kept."""

    seen: Span
    kept: Span

    @property
    def inner(self) -> Span:
        """What is kept, counted from the beginning of the tile."""
        return self.kept[0] - self.seen[0], self.kept[1] - self.seen[0]


def tiles(length: int, largest: int, margin: int) -> list[Tile]:
    """The fewest tiles of one size, at most `largest`, that together keep every cell of an axis.

    A tile contains `margin` cells around those that it keeps, except at the two ends of the axis.

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
    """``network(x)``; where the grid is larger than a tile, one image and one tile at a time.

    grid: (h, w), the number of cells. x (B,C,H,W) and the maps that the network makes of it have a whole number of
    pixels a cell. largest, margin: of a tile, in cells. Gradients flow as through the network.
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
    """The pixels of these cells of the grid: a view."""
    scale = maps.shape[-1] // grid[1]
    top, bottom, left, right = (scale * place for place in (*rows, *columns))
    return maps[..., top:bottom, left:right]


def _blank(part: torch.Tensor, size: Sequence[int], count: int, grid: Sequence[int]) -> torch.Tensor:
    """Memory for the maps of `count` whole images, of which `part` is a tile of `size` cells."""
    scale = part.shape[-1] // size[1]
    return part.new_empty(count, part.shape[1], *(scale * length for length in grid))
