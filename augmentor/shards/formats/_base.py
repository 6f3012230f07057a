"""What a shard format is: how the arrays of a shard become a file, and how that file is read."""

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

ORIGINAL_KEPT = -1  # the draw index of a real sample that the gate kept, because it rejected every draw


@dataclass(frozen=True)
class ShardArrays:
    """An open shard. `content[rows]`, with a slice or an int64 array of rows 0 to n-1, reads what the manifest says.

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
    """Base of all shard formats. A member writes files, and reads them if it is `readable`.

    suffix: of the files' names. stores, compressions: what it takes of `STORES` and of names of its own.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    stores: ClassVar[tuple[str, ...]] = STORES
    compressions: ClassVar[tuple[str, ...]] = ("none",)
    readable: ClassVar[bool] = False  # by `ShardDataset`

    def encode(self, arrays: dict[str, np.ndarray], settings: Manifest, unit: int) -> bytes:
        """The bytes of shard `unit`; equal arguments make equal bytes.

        arrays: `images` uint8 (n,C,H,W), or `latents` float32 (n,*L); `labels` int64 (n,) or float32 (n,K);
        `source_index` int64 (n,m); `copy` int32 (n,), the draw indices.
        """
        raise NotImplementedError

    def check_planned(self, manifest: Manifest) -> None:
        """`ShapeError` where its files cannot hold such images; called before any work."""

    def open(self, path: Path, entry: ShardEntry, manifest: Manifest, cache: BlockCache) -> ShardArrays:
        """Open a file of the size that its entry says; `ShardError` for anything else than the manifest describes."""
        raise ShardError(f"{path} is a {self.name} file, which ShardDataset does not read; use that package")

    def check_declared(self, manifest: Manifest) -> None:
        """`ShardError` where a file cannot be long enough for what the manifest says of it; opens none."""

    def rows_at_once(self, manifest: Manifest, count: int) -> int:
        """How many samples of a shard of `count` one read brings: the blocks of a block shuffle."""
        return count
