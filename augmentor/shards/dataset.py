"""`ShardDataset`: the samples of a shard folder, as a map-style data set."""

from __future__ import annotations

import hashlib
import operator
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import default_collate

from .._internal.batched import BatchedDataset
from .._internal.checks import checked_rows
from .._internal.files import absolute_path
from ..autoencoders import Autoencoder
from ..exceptions import InputError, ShardError
from .decoder import LatentDecoder
from .formats import ShardArrays
from .rows import BlockCache
from .verify import check_size, complete_manifest, open_shard, verify_shard

# An open shard uses one file descriptor, mapped or not, and the limit per process is often 1024.
_MAX_OPEN_SHARDS = 256

_MANY = (slice, list, range, np.ndarray, torch.Tensor)  # index types of a batch


class ShardDataset(BatchedDataset[tuple[Any, Any]]):
    """Data set of shards. Items are `(uint8 tensor (C,H,W), int)`; soft labels are float32 tensors (K,).

    `data[5]` returns an item. A slice or a list of indices, `data[100:356]` or `data[[7, 1, 5]]`, returns a batch:
    images uint8 (B,C,H,W) and labels int64 (B,) or float32 (B,K). This is several times as fast as collating items. A
    loader does so with ``DataLoader(data, batch_size=None, sampler=BatchSampler(sampler, 256, drop_last=False))``.

    Each process opens its own shards, so all start methods of workers are supported, and the data set pickles as the
    name of its folder and its manifest. For a shuffle that reads each part of the files once and can be resumed within
    an epoch, give the loader a `BlockSampler`.

    folder: HDF5 shards made by `generate_shards` or ``augmentor generate``.
    verify: compare the hash of every file first (about 1 GB per second), as ``augmentor verify`` does. Otherwise only
        sizes are compared, and the structure of a file when it is opened, so that damaged pixels in an uncompressed
        file are not detected.
    transform: called on each image. The transformed images of a batch are collated as by a loader.
    autoencoder: for shards of latents, which are decoded on access, one batch per call: a name, a `.safetensors` file
        or an `Autoencoder`. Default: the pretrained one that made them. Its weights must be those of the manifest.
    device: device on which latents are decoded and images are returned. Default: the device of the autoencoder, which
        is the CPU for a pretrained one.

    Raises `ShardError` for a folder that does not exist, is empty or unfinished, or does not match its manifest,
    `InputError` or `WeightsError` for an unsuitable autoencoder, `DeviceError` for CUDA inside a loader worker.

    >>> import tempfile
    >>> from augmentor.data import load_source
    >>> from augmentor.shards import generate_shards
    >>> from augmentor.transform import LatentAugment
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     folder = generate_shards(load_source("digits"), LatentAugment("digits"), folder, num_samples=10)
    ...     data = ShardDataset(folder)
    ...     len(data), data[0][0].shape, data[0][1]
    ...     data[2:5][0].shape, data[[9, 0]][1]
    (10, torch.Size([1, 8, 8]), 0)
    (torch.Size([3, 1, 8, 8]), tensor([9, 0]))
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
        self.folder = absolute_path(folder)
        self.transform = transform
        self.manifest = complete_manifest(self.folder)
        if not self.manifest.form.readable:
            raise ShardError(
                f"{self.folder} contains {self.manifest.files} files, which ShardDataset does not read; read them with "
                f"the package {self.manifest.files}"
            )
        for entry in self.manifest.shards:
            (verify_shard if verify else check_size)(self.folder / entry.file, entry)
        if self.manifest.store == "images" and (autoencoder is not None or device is not None):
            raise InputError(
                f"{self.folder} holds images; autoencoder and device are for shards of latents; leave both out"
            )
        self._decoder = None if self.manifest.store == "images" else LatentDecoder(self.manifest, autoencoder, device)
        self._forget()

    @property
    def classes(self) -> list[str]:
        """Name of each class."""
        return list(self.manifest.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of an image, (C, H, W)."""
        return self.manifest.image_shape

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the hashes of the shards."""
        return hashlib.sha256("\n".join(entry.sha256 for entry in self.manifest.shards).encode()).hexdigest()

    @cached_property
    def blocks(self) -> np.ndarray:
        """Start of each block of samples that is read at once, and the end: int64 (blocks + 1,)."""
        manifest = self.manifest
        starts = [
            np.arange(0, entry.count, manifest.form.rows_at_once(manifest, entry.count)) + unit * manifest.shard_size
            for unit, entry in enumerate(manifest.shards)
        ]
        return np.append(np.concatenate(starts), len(self))

    @cached_property
    def targets(self) -> torch.Tensor:
        """All labels, int64 (N,) or float32 (N,K)."""
        return torch.from_numpy(np.concatenate([shard.labels for shard in self._shards()]))

    @cached_property
    def draw_indices(self) -> torch.Tensor:
        """Draw indices, int32 (N,); -1 where the original image was kept."""
        return torch.from_numpy(np.concatenate([shard.draw_index for shard in self._shards()]))

    def __len__(self) -> int:
        return self.manifest.num_samples

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray | torch.Tensor) -> tuple[Any, Any]:
        """Return the item at an index, or the collated batch of a slice or a list of indices."""
        if isinstance(index, _MANY) and getattr(index, "ndim", 1) != 0:
            return self._batch(index)
        number = operator.index(cast(int, index))
        length = self.manifest.num_samples
        if not -length <= number < length:
            raise IndexError(f"index {number} is outside a data set of {length} samples")
        number_of_shard, row = divmod(number % length, self.manifest.shard_size)
        shard = self._shard(number_of_shard)
        content = np.array(shard.content[row : row + 1])
        image = torch.from_numpy(content[0]) if self._decoder is None else self._decoder(content)[0]
        label = shard.labels[row]
        made = image if self.transform is None else self.transform(image)
        return made, int(label) if label.ndim == 0 else torch.from_numpy(label.copy())

    def _items(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """Return the items at these indices; each shard is read once."""
        images, labels = self._tensors(checked_rows(indices, len(self)))
        made = images if self.transform is None else [self.transform(image) for image in images]
        return list(zip(made, labels.tolist() if labels.ndim == 1 else labels, strict=True))

    def _batch(self, index: Any) -> tuple[Any, torch.Tensor]:
        """Return images (B,C,H,W), or collated transformed images, and labels int64 (B,) or float32 (B,K)."""
        if isinstance(index, slice):
            rows = range(len(self))[index]
            images, labels = self._tensors(rows if rows.step == 1 else np.asarray(rows))
        else:
            numbers = np.asarray(index)
            if numbers.dtype == np.bool_:
                raise TypeError("got a boolean mask; expected indices of samples: use np.flatnonzero(mask)")
            images, labels = self._tensors(checked_rows(numbers, len(self)))
        return images if self.transform is None else default_collate([self.transform(i) for i in images]), labels

    def _tensors(self, rows: range | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        content, labels = self._read(rows)
        return torch.from_numpy(content) if self._decoder is None else self._decoder(content), torch.from_numpy(labels)

    def _read(self, rows: range | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the stored content and labels of these samples, as new arrays."""
        parts = [*self._parts(rows)]
        if len(parts) == 1:
            number, _, place = parts[0]
            shard = self._shard(number)
            content, labels = _own(shard.content[place]), _own(shard.labels[place])
        else:
            first = self._shard(0)
            content = np.empty((len(rows), *first.content.shape[1:]), first.content.dtype)
            labels = np.empty((len(rows), *first.labels.shape[1:]), first.labels.dtype)
            for number, where, place in parts:
                shard = self._shard(number)
                content[where], labels[where] = shard.content[place], shard.labels[place]
        return content, labels

    def _parts(self, rows: range | np.ndarray) -> Iterator[tuple[int, slice | np.ndarray, slice | np.ndarray]]:
        """Yield the number of each shard, the positions in `rows` that it has, and their rows in the shard."""
        size = self.manifest.shard_size
        if isinstance(rows, np.ndarray) and len(rows) and (np.diff(rows) == 1).all():
            rows = range(int(rows[0]), int(rows[-1]) + 1)
        if isinstance(rows, range):
            for number in range(rows.start // size, -(-rows.stop // size)):
                first = number * size
                begin, end = max(rows.start, first), min(rows.stop, first + size)
                yield number, slice(begin - rows.start, end - rows.start), slice(begin - first, end - first)
            return
        shard_of, row_of = np.divmod(rows, size)
        for number in np.flatnonzero(np.bincount(shard_of)).tolist():
            places = np.flatnonzero(shard_of == number)
            yield number, places, row_of[places]

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

    def _shards(self) -> Iterator[ShardArrays]:
        return map(self._shard, range(self.manifest.num_shards))

    def _shard(self, number: int) -> ShardArrays:
        """Return a shard opened by this process. A forked worker does not use shards of its parent."""
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


def _own(array: np.ndarray) -> np.ndarray:
    """Return the array, or a copy if it is a view."""
    return array.copy() if array.base is not None else array
