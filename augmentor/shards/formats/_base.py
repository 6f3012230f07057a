"""Base class of shard formats, which write the arrays of a shard to a file and read them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..._internal.registry import register
from ...exceptions import ShardError
from ..manifest import FORMATS, STORES, Manifest, ShardEntry
from ..rows import BlockCache, ChunkedRows

register_format = partial(register, "shard format", FORMATS)

ORIGINAL_KEPT = -1  # the draw index of an original image that was kept


@dataclass(frozen=True)
class ShardArrays:
    """Arrays of an open shard. `content[rows]` reads rows, given as a slice or an int64 array of 0 to n-1.

    content: uint8 images (len(rows),C,H,W), or float32 raw latents (len(rows),*L). labels: int64 (n,) or float32
    (n,K). source_index: int64 (n,m). draw_index: int32 (n,).
    """

    content: np.ndarray | ChunkedRows
    labels: np.ndarray
    source_index: np.ndarray
    draw_index: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class ShardFormat:
    """Base of all shard formats. A format writes files, and reads them if it is `readable`.

    suffix: of the file names. stores: the supported values of `STORES`. compressions: names of its compressions.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    stores: ClassVar[tuple[str, ...]] = STORES
    compressions: ClassVar[tuple[str, ...]] = ("none",)
    readable: ClassVar[bool] = False  # by `ShardDataset`

    def encode(self, arrays: dict[str, np.ndarray], settings: Manifest, unit: int) -> bytes:
        """Return the bytes of shard `unit`; equal arguments give equal bytes.

        arrays: `images` uint8 (n,C,H,W), or `latents` float32 (n,*L); `labels` int64 (n,) or float32 (n,K);
        `source_index` int64 (n,m); `copy` int32 (n,), the draw indices.
        """
        raise NotImplementedError

    def check_planned(self, manifest: Manifest) -> None:
        """Raise `ShapeError` if the format cannot store such images; called before generation."""

    def open(self, path: Path, entry: ShardEntry, manifest: Manifest, cache: BlockCache) -> ShardArrays:
        """Open a file of the size in its entry. Raises `ShardError` if it does not match the manifest."""
        raise ShardError(
            f"{path} is a {self.name} file, which ShardDataset does not read; read it with the package {self.name}"
        )

    def check_declared(self, manifest: Manifest) -> None:
        """Raise `ShardError` if a file is too short for its content according to the manifest; opens no file."""

    def rows_at_once(self, manifest: Manifest, count: int) -> int:
        """Return the samples per read of a shard of `count`, which are the blocks of `BlockSampler`."""
        return count
