"""Checks of images at the public edge: each says what came, what was expected and what to do."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence

import numpy as np
import torch

from ..exceptions import InputError, RangeError, ShapeError

Size = Sequence[int | None]


def takes_shape(expected: Size, shape: Size) -> bool:
    """Whether images (C,H,W) fit where `expected` is asked for: `None` is any size, and grey passes for RGB."""
    return shape[0] in (expected[0], 1) and all(n in (None, m) for n, m in zip(expected[1:], shape[1:], strict=True))


def check_images(images: torch.Tensor, expected: Size, owner: str) -> None:
    """`images` are (B, *expected), uint8 or floating in [0, 1]; see `takes_shape`."""
    if not isinstance(images, torch.Tensor):
        raise InputError(f"{owner} takes a tensor of images (B,C,H,W), got {type(images).__name__}")
    if images.ndim == 4 and takes_shape(expected, images.shape[1:]):
        check_range(images, owner)
        return
    wanted = f"(B, {', '.join('any' if n is None else str(n) for n in expected)})"
    if images.ndim != 4:
        raise ShapeError(f"{owner} takes images {wanted}, got {tuple(images.shape)}; add or drop dimensions")
    channels = images.shape[1]
    if channels not in (expected[0], 1):
        to = "v2.Grayscale()" if expected[0] == 1 else f"v2.Grayscale({expected[0]}) or v2.RGB()"
        raise ShapeError(
            f"{owner} takes {expected[0]}-channel images {wanted}, got {channels} channels {tuple(images.shape)}; "
            f"convert with {to}, or choose an autoencoder trained on such images"
        )
    raise ShapeError(
        f"{owner} takes images {wanted}, got {tuple(images.shape)}; "
        f"resize with v2.Resize(({expected[1]}, {expected[2]})), or choose an autoencoder for this size"
    )


def check_range(images: torch.Tensor, owner: str) -> None:
    """Values are uint8, or floating, finite and in [0, 1].

    Values on an accelerator are not looked at, because looking would make the host wait for it.
    """
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise InputError(f"{owner} takes uint8 or floating images, got {images.dtype}; use v2.ToDtype")
    if images.device.type != "cpu" or images.numel() == 0:
        return
    low, high = (value.item() for value in torch.aminmax(images.detach()))
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # false for NaN as well
        seen = "NaN" if low != low else f"values from {low:.4g} to {high:.4g}"
        raise RangeError(
            f"{owner} takes images in [0, 1], got {seen}; use v2.ToDtype(torch.float32, scale=True), "
            "and normalise after the augmentation"
        )


def check_ratio(ratio: float) -> None:
    """The number of synthetic samples for each real one is finite and not negative."""
    if not (math.isfinite(ratio) and ratio >= 0):
        raise InputError(f"ratio is the number of synthetic samples for each real one, >= 0; got {ratio}")


def to_unit_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 [0, 255] or floating [0, 1] => float32 [0, 1]."""
    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(255)
    return images.to(torch.float32)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Floating [0, 1] => uint8 [0, 255], rounded to the nearest level."""
    if images.dtype == torch.uint8:
        return images
    return images.detach().mul(255).round_().clamp_(0, 255).to(torch.uint8)


def checked_rows(indices: Sequence[int] | np.ndarray, length: int) -> np.ndarray:
    """Indices as lists take them, counted from the beginning: int64. Raises `IndexError` or `TypeError`."""
    rows = np.asarray(indices if len(indices) else np.empty(0, np.int64))
    if rows.ndim != 1 or rows.dtype.kind not in "iub":
        rows = np.asarray([operator.index(index) for index in indices])
    rows = rows.astype(np.int64)
    counted = np.where(rows < 0, rows + length, rows)
    outside = (counted < 0) | (counted >= length)
    if outside.any():
        raise IndexError(f"index {rows[outside][0]} is outside a data set of {length} samples")
    return counted


def is_number(value: object) -> bool:
    """Whether a value of a JSON document is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
