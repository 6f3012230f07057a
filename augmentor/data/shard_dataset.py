"""`ShardDataset`: the samples of a shard folder, as a map-style data set."""

from __future__ import annotations

import hashlib
import operator
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..exceptions import ShardError
from ..shards._manifest import MANIFEST, PARTIAL, Manifest, read_manifest
from ..shards.hdf5 import ShardArrays, check_size, open_shard, verify_shard

# Compressed shards hold a file open each, and a process may hold 1024; mapped ones hold none.
_MAX_OPEN_FILES = 128


class ShardDataset(Dataset[tuple[Any, Any]]):
    """Items `(uint8 tensor (C,H,W), int)`, or `(uint8 tensor, float32 tensor (K,))` where labels are soft.

    A loader reads in batches. Every process opens the shards it needs for itself, so workers may be forked, spawned
    or served, and the data set pickles as the name of its folder and its manifest.

    folder: made by `generate_shards` or ``augmentor generate``.
    verify: hash every file first (about 1 GB a second); without it only sizes are compared.
    transform: called on each image.

    Raises `ShardError` for a folder that is absent, empty, unfinished, or does not fit its manifest.

    >>> import tempfile
    >>> from augmentor.data.sources import load_source
    >>> from augmentor.generate import generate_shards
    >>> from augmentor.transform import LatentAugment
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     folder = generate_shards(load_source("digits"), LatentAugment("digits"), folder, num_samples=10)
    ...     data = ShardDataset(folder)
    ...     len(data), data[0][0].shape, data[0][1]
    (10, torch.Size([1, 8, 8]), 0)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        verify: bool = False,
        transform: Callable[[torch.Tensor], Any] | None = None,
    ):
        self.folder = Path(folder)
        self.transform = transform
        self.manifest = _complete_manifest(self.folder)
        for entry in self.manifest.shards:
            (verify_shard if verify else check_size)(self.folder / entry.file, entry)
        self._open: OrderedDict[int, ShardArrays] = OrderedDict()
        self._process = os.getpid()

    @property
    def classes(self) -> list[str]:
        """Names by class number."""
        return list(self.manifest.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.manifest.image_shape

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the hashes of the shards."""
        return hashlib.sha256("\n".join(entry.sha256 for entry in self.manifest.shards).encode()).hexdigest()

    @cached_property
    def targets(self) -> torch.Tensor:
        """All labels: int64 (N,) or float32 (N,K)."""
        return torch.from_numpy(np.concatenate([self._shard(n).labels for n in range(self.manifest.num_shards)]))

    def __len__(self) -> int:
        return self.manifest.num_samples

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """Items for these indices; each shard among them is read once."""
        wanted = np.asarray([self._checked(index) for index in indices], np.int64)
        shard_of, row_of = np.divmod(wanted, self.manifest.shard_size)
        images = np.empty((len(wanted), *self.image_shape), np.uint8)
        labels: list[Any] = [None] * len(wanted)
        for number in np.unique(shard_of):
            places = np.flatnonzero(shard_of == number)
            shard = self._shard(int(number))
            images[places] = shard.images[row_of[places]]
            for place, label in zip(places, shard.labels[row_of[places]], strict=True):
                labels[place] = int(label) if label.ndim == 0 else torch.from_numpy(label.copy())
        tensors = torch.from_numpy(images)
        made = tensors if self.transform is None else [self.transform(image) for image in tensors]
        return list(zip(made, labels, strict=True))

    def __repr__(self) -> str:
        return f"ShardDataset({str(self.folder)!r}): {len(self)} images {self.image_shape}, {self.manifest.policy}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def _shard(self, number: int) -> ShardArrays:
        """A shard opened by this process; what a forked worker inherits from its parent it does not use."""
        if self._process != os.getpid():
            self._open, self._process = OrderedDict(), os.getpid()
        shard = self._open.get(number)
        if shard is None:
            entry = self.manifest.shards[number]
            shard = self._open[number] = open_shard(self.folder / entry.file, entry, self.manifest)
            if self.manifest.compression != "none" and len(self._open) > _MAX_OPEN_FILES:
                self._open.popitem(last=False)
        return shard

    def _checked(self, index: int) -> int:
        position = operator.index(index)
        position += len(self) if position < 0 else 0
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is outside a ShardDataset of {len(self)} samples")
        return position


def _complete_manifest(folder: Path) -> Manifest:
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder / MANIFEST)
        if not manifest.complete:
            raise ShardError(
                f"{folder / MANIFEST} lists {len(manifest.shards)} of {manifest.num_shards} shards; "
                "it is damaged: copy the folder again, or finish it with `augmentor generate --resume`"
            )
        return manifest
    if (folder / PARTIAL).exists():
        manifest = read_manifest(folder / PARTIAL)
        raise ShardError(
            f"{folder} is not finished: it has {len(manifest.shards)} of {manifest.num_shards} shards; "
            "wait for its generation, or finish it with `augmentor generate --resume`"
        )
    found = "does not exist" if not folder.exists() else "has no manifest.json" if folder.is_dir() else "is a file"
    raise ShardError(
        f"{folder} {found}; expected a folder that generate_shards or `augmentor generate` made "
        "(one that was cut short is finished with `augmentor generate --resume`)"
    )
