"""`HDF5Dataset`: images in an HDF5 file of the user."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from .._internal.batched import BatchedDataset
from .._internal.checks import checked_rows
from .._internal.files import absolute_path, open_regular
from .._internal.layout import array_tensor
from ..exceptions import DataError, ShardError
from ..shards.rows import BlockCache, ChunkedRows, rows_of
from ..shards.storage import Stored, stored_in
from .arrays import checked_classes, scaled, unit_images

_BLOCK_BYTES = 64 << 10
_FIRST = 64


class HDF5Dataset(BatchedDataset[tuple[Any, int]]):
    """Data set of an HDF5 file. Items are `(tensor (C,H,W), int)`; images are uint8, or float32 in [0, 1].

    path: an HDF5 file. images: name of its data set (N,H,W), (N,H,W,C) or (N,C,H,W), with any number of channels.
    labels: name of the class numbers (N,), or None for class 0 for all images. classes: name of each class.
    transform: called on each image. value_range: (low, high), the values of black and white; required unless images
    are uint8, uint16 or floats in [0, 1], as for `ArrayDataset`.

    Labels are read at construction, images on access: contiguous images are memory-mapped, chunked images are read in
    whole chunks. Each process opens the file itself. Raises `ShardError` for unsupported HDF5 features (links, data in
    other files, filters other than gzip, shuffle and fletcher32, incomplete data), `DataError` for arrays of other
    shapes, and `RangeError` for another dtype without `value_range` or, on access, for values outside their range.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with h5py.File(f"{folder.name}/a.h5", "w") as file:
    ...     file["train/x"], file["train/y"] = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4)
    >>> data = HDF5Dataset(f"{folder.name}/a.h5", images="train/x", labels="train/y")
    >>> data[3][0].shape, data[3][1]
    (torch.Size([3, 8, 8]), 3)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        images: str = "images",
        labels: str | None = "labels",
        classes: Sequence[str] | None = None,
        transform: Callable[[torch.Tensor], Any] | None = None,
        value_range: tuple[float, float] | None = None,
    ):
        self.value_range = value_range
        self.path, self.transform = absolute_path(path).resolve(), transform
        self._stored, targets = _described(self.path, images, labels)
        shape = self._stored.shape
        if not shape or shape[0] == 0:
            raise DataError(f"{images} of {path} has shape {shape}; expected at least one image")
        empty = np.empty((0, *shape[1:]), self._stored.dtype.newbyteorder("="))
        channels, height, width = scaled(array_tensor(empty, str(path)), value_range, str(path)).shape[1:]
        self.image_shape = (channels, height, width)
        if targets is None:
            targets = np.zeros(shape[0], np.int64)
        if targets.shape not in ((shape[0],), (shape[0], 1)) or targets.dtype.kind not in "iu":
            raise DataError(
                f"{labels} of {path} is {targets.dtype} {targets.shape}; expected class numbers ({shape[0]},)"
            )
        self.targets = torch.from_numpy(targets.reshape(-1).astype(np.int64))
        self.classes = checked_classes(self.targets, classes)
        self._rows: np.ndarray | ChunkedRows | None = None
        self._process = 0
        if empty.dtype == np.uint16:
            unit_images(self._opened()[np.arange(min(len(self), _FIRST))], value_range, str(path))  # warns if dark

    @property
    def blocks(self) -> np.ndarray:
        """Start of each block of images that is read at once, and the end: int64 (blocks + 1,)."""
        row = max(1, self._stored.nbytes // len(self))
        step = max(1, _BLOCK_BYTES // row) if self._stored.chunks is None else self._stored.chunks[0]
        return np.append(np.arange(0, len(self), step), len(self))

    def __len__(self) -> int:
        return self._stored.shape[0]

    def _items(self, indices: Sequence[int]) -> list[tuple[Any, int]]:
        """Return the items at these indices; each chunk is read once."""
        rows = checked_rows(indices, len(self))
        owner = f"{self.path} (in {len(rows)} of its {len(self)} images)"
        images = scaled(array_tensor(self._opened()[rows], str(self.path)), self.value_range, owner)
        made = images if self.transform is None else [self.transform(image) for image in images]
        return list(zip(made, self.targets[rows].tolist(), strict=True))

    def __repr__(self) -> str:
        return f"HDF5Dataset({str(self.path)!r}): {len(self)} images {self.image_shape}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None}

    def _opened(self) -> np.ndarray | ChunkedRows:
        if self._rows is None or self._process != os.getpid():
            self._rows, self._process = rows_of(self.path, self._stored, BlockCache()), os.getpid()
        return self._rows


def _described(path: Path, images: str, labels: str | None) -> tuple[Stored, np.ndarray | None]:
    """Return the location of the images, and the labels."""
    try:
        with open_regular(path) as opened:
            size = os.fstat(opened.fileno()).st_size
        with h5py.File(path, "r", locking=False) as file:
            if file.userblock_size:
                raise ShardError(f"it begins with a user block of {file.userblock_size} bytes; expected none")
            found = stored_in(file, images, size)
            marks = None if labels is None else stored_in(file, labels, size)
        if marks is None:
            return found, None
        if marks.shape[:1] != found.shape[:1] or not marks.shape:
            raise ShardError(f"{labels} has shape {marks.shape} for images {found.shape}; expected one label per image")
        return found, np.asarray(rows_of(path, marks, BlockCache())[np.arange(marks.shape[0])])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        advice = "; close the file if it is open in h5py" if "locking" in str(error) else ""
        if "there is no" in str(error):
            advice = "; name the data sets of images and labels, such as h5:FILE#IMAGES,LABELS"
        raise ShardError(
            f"cannot read {images!r}{'' if labels is None else f' and {labels!r}'} of {path}: {error}{advice}"
        ) from error
