"""Images and labels that fit in memory, as a data set."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from ..exceptions import DataError, ShapeError

# Class numbers beyond this are more likely identifiers than classes.
_MAX_UNNAMED = 100_000


class ArrayDataset(Dataset[tuple[torch.Tensor, int]]):
    """Items `(uint8 tensor (C,H,W), int)`.

    images: uint8 (N,C,H,W). labels: int64 (N,), or None, which makes all of them class 0. classes: names by number.

    >>> data = ArrayDataset(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1]), ["a", "b"])
    >>> len(data), data[2][1]
    (3, 1)
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor | None = None, classes: Sequence[str] | None = None):
        if images.ndim != 4 or images.dtype != torch.uint8:
            raise ShapeError(f"expected uint8 images (N,C,H,W), got {images.dtype} {tuple(images.shape)}")
        if len(images) == 0:
            raise DataError("expected at least one image, got none")
        self.images = images
        self.targets = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels.long()
        if len(self.targets) != len(images):
            raise ShapeError(f"got {len(self.targets)} labels for {len(images)} images; expected one an image")
        self.classes = checked_classes(self.targets, classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shape, images and labels."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.targets.numpy().tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], int(self.targets[index])

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, int]]:
        rows = torch.as_tensor(list(indices), dtype=torch.int64)
        return list(zip(self.images[rows], self.targets[rows].tolist(), strict=True))

    def subset(self, rows: torch.Tensor) -> ArrayDataset:
        """The same classes, only these rows (int64 or bool)."""
        return ArrayDataset(self.images[rows], self.targets[rows], self.classes)


def channels_first(images: np.ndarray, owner: str) -> np.ndarray:
    """(N,H,W), (N,H,W,C) or (N,C,H,W), C 1 or 3 => (N,C,H,W); `DataError` for what is no image. Copies nothing."""
    if images.dtype.kind not in "buif" or images.dtype.itemsize > 8:
        raise DataError(f"{owner} has images of type {images.dtype}; expected uint8 0 to 255, or floats in [0, 1]")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"{owner} has images of shape {images.shape}; expected (N,H,W), (N,H,W,C) or (N,C,H,W), C 1 or 3"
        )
    return images


def checked_classes(targets: torch.Tensor, classes: Sequence[str] | None) -> list[str]:
    """Names for the class numbers int64 (N,), which must be from 0 to the number of names."""
    count = int(targets.max()) + 1
    if classes is None and count > _MAX_UNNAMED:
        raise DataError(f"got a label of {count - 1}; expected class numbers from 0 on; renumber or name them")
    names = list(classes) if classes is not None else [str(i) for i in range(count)]
    if count > len(names) or int(targets.min()) < 0:
        raise DataError(f"labels go from {int(targets.min())} to {count - 1}; expected 0 to {len(names) - 1}")
    return names
