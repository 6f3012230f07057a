"""Data set of images and labels in memory."""

from __future__ import annotations

import functools
import hashlib
import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from .._internal.batched import BatchedDataset
from .._internal.checks import extremes, is_unit, likely_range
from .._internal.layout import array_tensor
from ..exceptions import AugmentorWarning, DataError, InputError, RangeError, ShapeError

# Larger class numbers are probably identifiers.
_MAX_UNNAMED = 100_000


class ArrayDataset(BatchedDataset[tuple[torch.Tensor, int]]):
    """Data set in memory. Items are `(tensor (C,H,W), int)`; images are uint8, or float32 in [0, 1].

    images: a tensor (N,C,H,W), or a numpy array (N,C,H,W), (N,H,W,C) or (N,H,W), with any number of channels; see
    `unit_images` for dtypes. labels: class numbers (N,). Default: class 0 for all images. classes: name of each class.
    value_range: (low, high), the values of black and white.

    Raises `ShapeError` or `DataError` for images or labels that do not fit, `RangeError` for values outside their
    range.

    >>> data = ArrayDataset(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1]), ["a", "b"])
    >>> len(data), data[2][1]
    (3, 1)
    >>> scans = ArrayDataset(np.full((3, 8, 8), 1000, np.int16), value_range=(-1000, 3000))
    >>> scans.images.dtype, scans.images.max()
    (torch.float32, tensor(0.5000))
    """

    def __init__(
        self,
        images: torch.Tensor | np.ndarray,
        labels: torch.Tensor | np.ndarray | None = None,
        classes: Sequence[str] | None = None,
        *,
        value_range: tuple[float, float] | None = None,
    ):
        self.images = unit_images(images, value_range, "ArrayDataset")
        self.targets = torch.zeros(len(images), dtype=torch.int64) if labels is None else torch.as_tensor(labels).long()
        if len(self.targets) != len(images):
            raise ShapeError(f"got {len(self.targets)} labels for {len(images)} images; expected one per image")
        self.classes = checked_classes(self.targets, classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of an image, (C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of shape, images and labels."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.targets.numpy().tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], int(self.targets[index])

    def _items(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, int]]:
        images, labels = self.get_batch(indices)
        return list(zip(images, labels.tolist(), strict=True))

    def get_batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images (B,C,H,W) and the labels int64 (B,) at these indices, which is faster than single items."""
        rows = torch.as_tensor(list(indices), dtype=torch.int64)
        return self.images[rows], self.targets[rows]

    def subset(self, rows: torch.Tensor) -> ArrayDataset:
        """Return a data set of these rows (int64 or bool) with the same classes."""
        return ArrayDataset(self.images[rows], self.targets[rows], self.classes)


def unit_images(images: torch.Tensor | np.ndarray, value_range: tuple[float, float] | None, owner: str) -> torch.Tensor:
    """Convert images to a tensor (N,C,H,W), uint8, or float32 in [0, 1].

    images: a tensor (N,C,H,W), or an array that `channels_first` accepts; `DataError` or `ShapeError` for other input.
    value_range: (low, high), which become 0 and 1; values outside raise `RangeError`. Default: uint8 is unchanged,
    uint16 is divided by 65535, as by `v2.ToDtype(torch.float32, scale=True)`, and floats must be in [0, 1].
    owner: name of the images in messages.

    >>> unit_images(np.asarray([[[0, 4095]]]), (0, 4095), "the file")
    tensor([[[[0., 1.]]]])
    """
    pixels = array_tensor(images, owner) if isinstance(images, np.ndarray) else images
    if pixels.ndim != 4:
        raise ShapeError(f"{owner} takes images (N,C,H,W), got {pixels.dtype} {tuple(pixels.shape)}")
    if len(pixels) == 0:
        raise DataError(f"{owner} has no images; expected at least one image")
    made = scaled(pixels, value_range, owner)
    if value_range is None and pixels.dtype == torch.uint16:
        _warn_of_dark(owner, round(65535 * float(made.max())))
    return made


def scaled(images: torch.Tensor, value_range: tuple[float, float] | None, owner: str) -> torch.Tensor:
    """Scale any number of images, also none, as `unit_images` does."""
    if value_range is None and images.dtype == torch.uint8:
        return images
    standard = (0.0, 65535.0) if images.dtype == torch.uint16 else (0.0, 1.0)
    low, high = standard if value_range is None else _checked_range(value_range)
    floats = images.to(torch.float32)
    seen = extremes(floats) if len(floats) else (low, high)
    named = value_range is not None or images.dtype == torch.uint16 or images.is_floating_point()
    if not (named and is_unit(*((value - low) / (high - low) for value in seen))):
        kind = str(images.dtype).removeprefix("torch.")
        shown = f" from {seen[0]:.6g} to {seen[1]:.6g}" if len(floats) else ""
        raise RangeError(f"{owner} has {kind} values{shown}; {_advice(seen, value_range)}")
    return floats if (low, high) == (0, 1) else (floats - low).div_(high - low)


def checked_classes(targets: torch.Tensor, classes: Sequence[str] | None) -> list[str]:
    """Return a name per class for class numbers int64 (N,); negative numbers mean no label."""
    count = max(int(targets.max()) + 1, 1)
    if classes is None and count > _MAX_UNNAMED:
        raise DataError(f"got a label of {count - 1}; expected class numbers from 0: renumber them, or give classes")
    names = list(classes) if classes is not None else [str(i) for i in range(count)]
    if count > len(names):
        raise DataError(
            f"labels go up to {count - 1}; expected 0 to {len(names) - 1}, or a negative number for no label"
        )
    return names


def _checked_range(value_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise InputError(f"value_range must be (low, high), values of black and white, low < high, got {value_range!r}")
    return low, high


def _advice(seen: tuple[float, float], value_range: tuple[float, float] | None) -> str:
    low, high = seen
    if not math.isfinite(high - low):
        return "expected finite values in [0, 1] or value_range: replace NaN and infinity, such as with np.nan_to_num"
    if value_range is not None:
        return f"expected values in value_range={value_range}: widen it, or clip the array with np.clip"
    low, high = likely_range(low, high)
    if low == high:
        high += 1
    return (
        "expected uint8, uint16 or floats in [0, 1]: give the values of black and white, such as "
        f"value_range=({low:.6g}, {high:.6g}), or FILE#value_range={low:.6g},{high:.6g} as a data argument"
    )


def _warn_of_dark(owner: str, highest: int) -> None:
    """Warn if uint16 images are nearly black, because they contain only 10, 12 or 14 bits."""
    if highest < 65536 / 4:
        white = 2 ** highest.bit_length() - 1
        warnings.warn(
            f"the uint16 images of {owner} have values up to {highest} of 65535, so they are dark; if white is "
            f"{white}, give value_range=(0, {white}), or FILE#value_range=0,{white} as a data argument",
            AugmentorWarning,
            stacklevel=4,
        )
