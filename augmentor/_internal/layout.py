"""Channel axis of numpy arrays of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..exceptions import DataError, ShapeError


def channels_first(images: np.ndarray, owner: str) -> np.ndarray:
    """Convert images (N,H,W), (N,H,W,C) or (N,C,H,W) to (N,C,H,W) without a copy.

    The channel axis is the axis of length 1 or 3, or else the one that is shorter than height and width. Raises
    `DataError` if the arrays are not images or if the channel axis is ambiguous.

    >>> channels_first(np.zeros((5, 64, 64, 12)), "the file").shape
    (5, 12, 64, 64)
    """
    if not holds_numbers(images):
        raise DataError(f"{owner} has images of type {images.dtype}; expected numbers, such as uint8 or float32")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4:
        raise DataError(f"{owner} has images of shape {images.shape}; expected (N,H,W), (N,H,W,C) or (N,C,H,W)")
    axis = _channel_axis(images.shape[1:])
    if axis is None:
        raise DataError(
            f"{owner} has images of shape {images.shape}, which can be (N,H,W,C) or (N,C,H,W); expected 1 or 3 "
            "channels, or fewer channels than rows and columns: pass a tensor (N,C,H,W) to ArrayDataset"
        )
    return images if axis == 0 else np.moveaxis(images, 3, 1)


def array_tensor(images: np.ndarray, owner: str) -> torch.Tensor:
    """Convert an array that `channels_first` accepts, in any byte order, to a tensor (N,C,H,W)."""
    pixels = channels_first(images, owner)
    return torch.from_numpy(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("=")))


def image_channels_first(image: np.ndarray) -> np.ndarray:
    """Convert one image (H,W) or (H,W,C), as for `v2.ToImage`, to (C,H,W) without a copy.

    Raises `ShapeError` if it is not certain that the last axis is the channel axis.
    """
    if image.ndim == 2:
        return image[None]
    if image.ndim == 4:
        raise ShapeError(
            f"got a numpy array of shape {image.shape}; expected one image (H,W) or (H,W,C): pass a "
            "batch as a tensor (B,C,H,W), with torch.from_numpy(images).permute(0, 3, 1, 2) if it is (B,H,W,C)"
        )
    if _channel_axis(image.shape) != 2:
        raise ShapeError(
            f"got a numpy image of shape {image.shape}, whose last axis may not be the channel axis; expected (H,W) or "
            "(H,W,C): pass a tensor (C,H,W), torch.from_numpy(image) if it is (C,H,W), or "
            "torch.from_numpy(image).permute(2, 0, 1) if it is (H,W,C)"
        )
    return np.moveaxis(image, 2, 0)


def holds_numbers(array: np.ndarray) -> bool:
    """Return whether the dtype of an array is numeric and supported by torch."""
    return array.dtype.kind in "buif" and array.dtype.itemsize <= 8


def _channel_axis(shape: Sequence[int]) -> int | None:
    """Return 0 for (C,H,W), 2 for (H,W,C), None if it is ambiguous."""
    first, middle, last = shape
    if first in (1, 3):
        return 0
    if last in (1, 3):
        return 2
    if first < min(middle, last):
        return 0
    return 2 if last < min(first, middle) else None
