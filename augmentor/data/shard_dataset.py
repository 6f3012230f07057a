"""`ShardDataset`: the samples of a shard folder, as a map-style data set."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..autoencoders import Autoencoder
from ..exceptions import InputError, ShardError
from ..shards import read_partial
from ..shards._manifest import MANIFEST, Manifest, read_manifest
from ..shards._storage import BlockCache
from ..shards.hdf5 import ShardArrays, check_declared, check_size, chunk_rows, open_shard, verify_shard
from ._decoder import LatentDecoder
from .arrays import checked_rows

# An open shard holds one file descriptor, mapped or not, and a process may often have no more than 1024.
_MAX_OPEN_SHARDS = 256


class ShardDataset(Dataset[tuple[Any, Any]]):
    """Items `(uint8 tensor (C,H,W), int)`, or `(uint8 tensor, float32 tensor (K,))` where labels are soft.

    A loader reads in batches. Every process opens the shards it needs for itself, so workers may be forked, spawned
    or served, and the data set pickles as the name of its folder and its manifest. For a shuffle that reads each part
    of the files once, and for going on in the middle of an epoch, give the loader a `BlockSampler`.

    folder: made by `generate_shards` or ``augmentor generate``, in HDF5.
    verify: hash every file first (about 1 GB a second), as ``augmentor verify`` does. Without it sizes are compared,
        and what a file says of its content is checked against the manifest when it is opened: damage to the pixels of
        an uncompressed file then goes unseen.
    transform: called on each image.
    autoencoder: for shards of latents, which are decoded here, a batch in one call: a name, a `.safetensors` file or an
        `Autoencoder`. By default the pretrained one that made them. Its weights must be those of the manifest.
    device: where latents are decoded, and where the images then are; the CPU by default.

    Raises `ShardError` for a folder that is absent, empty, unfinished, or does not fit its manifest, `InputError` or
    `WeightsError` for an autoencoder that does not fit, `DeviceError` for CUDA inside a loader worker.

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
        autoencoder: str | Path | Autoencoder | None = None,
        device: torch.device | str | None = None,
    ):
        self.folder = Path(folder)
        self.transform = transform
        self.manifest = complete_manifest(self.folder)
        if self.manifest.files != "hdf5":
            raise ShardError(f"{self.folder} holds {self.manifest.files} files; read them with that package")
        for entry in self.manifest.shards:
            (verify_shard if verify else check_size)(self.folder / entry.file, entry)
        if self.manifest.store == "images" and (autoencoder is not None or device is not None):
            raise InputError(f"{self.folder} holds images; autoencoder and device are for shards of latents")
        self._decoder = None if self.manifest.store == "images" else LatentDecoder(self.manifest, autoencoder, device)
        self._forget()

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
    def blocks(self) -> np.ndarray:
        """Where each block of samples that is read at once begins, and the end: int64 (blocks + 1,)."""
        manifest = self.manifest
        row, itemsize = (manifest.image_shape, 1) if manifest.latent_shape is None else (manifest.latent_shape, 4)
        parts = []
        for entry in manifest.shards:
            step = chunk_rows(manifest.store, (entry.count, *row), itemsize)
            parts.append(np.arange(0, entry.count, step) + entry.unit * manifest.shard_size)
        return np.append(np.concatenate(parts), len(self))

    @cached_property
    def targets(self) -> torch.Tensor:
        """All labels: int64 (N,) or float32 (N,K)."""
        return torch.from_numpy(np.concatenate([self._shard(n).labels for n in range(self.manifest.num_shards)]))

    @cached_property
    def copies(self) -> torch.Tensor:
        """Copy numbers, int32 (N,); -1 for real samples that a gate left as they are."""
        return torch.from_numpy(np.concatenate([self._shard(n).copy for n in range(self.manifest.num_shards)]))

    def __len__(self) -> int:
        return self.manifest.num_samples

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """Items for these indices; each shard among them is read once."""
        shard_of, row_of = np.divmod(checked_rows(indices, len(self)), self.manifest.shard_size)
        content, labels = self._read(shard_of, row_of)
        images = torch.from_numpy(content) if self._decoder is None else self._decoder(content)
        made = images if self.transform is None else [self.transform(image) for image in images]
        return list(zip(made, labels.tolist() if labels.ndim == 1 else torch.from_numpy(labels), strict=True))

    def _read(self, shard_of: np.ndarray, row_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What these rows of these shards hold, and their labels; arrays of the caller's own."""
        first = self._shard(int(shard_of[0]) if len(shard_of) else 0)
        if (shard_of == shard_of[:1]).all():
            return first.content[row_of], first.labels[row_of]
        content = np.empty((len(row_of), *first.content.shape[1:]), first.content.dtype)
        labels = np.empty((len(row_of), *first.labels.shape[1:]), first.labels.dtype)
        for number in np.unique(shard_of).tolist():
            places = np.flatnonzero(shard_of == number)
            shard = self._shard(number)
            content[places], labels[places] = shard.content[row_of[places]], shard.labels[row_of[places]]
        return content, labels

    def __repr__(self) -> str:
        return f"ShardDataset({str(self.folder)!r}): {len(self)} images {self.image_shape}, {self.manifest.policy}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_open", "_cache")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._open: OrderedDict[int, ShardArrays] = OrderedDict()
        self._cache, self._process = BlockCache(), os.getpid()

    def _shard(self, number: int) -> ShardArrays:
        """A shard opened by this process; what a forked worker inherits from its parent it does not use."""
        if self._process != os.getpid():
            self._forget()
        shard = self._open.get(number)
        if shard is None:
            entry = self.manifest.shards[number]
            shard = self._open[number] = open_shard(self.folder / entry.file, entry, self.manifest, self._cache)
            if len(self._open) > _MAX_OPEN_SHARDS:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(number)
        return shard


def complete_manifest(folder: Path) -> Manifest:
    """The manifest of a folder that is ready to be read; `ShardError` for any other."""
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder / MANIFEST)
        if not manifest.complete:
            raise ShardError(
                f"{folder / MANIFEST} lists {len(manifest.shards)} of {manifest.num_shards} shards; "
                "it is damaged: copy the folder again, or finish it with `augmentor generate --resume`"
            )
        check_declared(manifest)
        return manifest
    if (partial := read_partial(folder)) is not None:
        raise ShardError(
            f"{folder} is not finished: it has {len(partial.shards)} of {partial.num_shards} shards; "
            "wait for its generation, or finish it with `augmentor generate --resume`"
        )
    found = "does not exist" if not folder.exists() else "has no manifest.json" if folder.is_dir() else "is a file"
    raise ShardError(
        f"{folder} {found}; expected a folder that generate_shards or `augmentor generate` made "
        "(one that was cut short is finished with `augmentor generate --resume`)"
    )
