"""Checks of arguments of public functions; each message says what was given, what is accepted and what to do."""

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
    """Return whether images (C,H,W) have the expected shape: `None` is any size, and grey is accepted for RGB."""
    return _takes_channels(expected[0], shape[0]) and all(
        n in (None, m) for n, m in zip(expected[1:], shape[1:], strict=True)
    )


def check_images(images: torch.Tensor, expected: Size, owner: str) -> None:
    """Check that `images` are (B, *expected), uint8 or floating in [0, 1]; see `takes_shape`."""
    if not isinstance(images, torch.Tensor):
        raise InputError(f"{owner} takes a tensor of images (B,C,H,W), got {type(images).__name__}")
    if images.ndim == 4 and takes_shape(expected, images.shape[1:]):
        check_range(images, owner)
        return
    wanted = f"(B, {', '.join('any' if n is None else str(n) for n in expected)})"
    if images.ndim != 4:
        raise ShapeError(f"{owner} takes images {wanted}, got {tuple(images.shape)}; add or drop dimensions")
    if not _takes_channels(expected[0], images.shape[1]):
        raise ShapeError(
            f"{owner} takes {expected[0]}-channel images {wanted}, got {images.shape[1]} channels "
            f"{tuple(images.shape)}; {_channels_advice(expected[0], images.shape[1])}choose an autoencoder trained on "
            "such images"
        )
    raise ShapeError(
        f"{owner} takes images {wanted}, got {tuple(images.shape)}; "
        f"resize with v2.Resize(({expected[1]}, {expected[2]})), or choose an autoencoder for this size"
    )


def check_counts(**counts: object) -> None:
    """Raise `InputError` for an argument, passed by its name, that is not an integer of at least 1."""
    for name, value in counts.items():
        if type(value) is not int or value < 1:
            raise InputError(f"{name} must be an integer, at least 1, got {value!r}")


def check_range(images: torch.Tensor, owner: str) -> None:
    """Check that values are uint8, or floating, finite and in [0, 1].

    Values on an accelerator are not checked, because the host would have to wait for them.
    """
    if images.dtype == torch.uint8:
        return
    if images.dtype in (torch.uint16, torch.bool):
        white = 65535 if images.dtype == torch.uint16 else 1
        raise InputError(
            f"{owner} takes uint8 or floating images, got {images.dtype}; "
            f"use v2.ToImage(), v2.ToDtype(torch.float32, scale=True), or for an array of all images x / {white}"
        )
    if images.numel() == 0 or (images.is_floating_point() and images.device.type != "cpu"):
        return
    low, high = extremes(images)
    if not images.is_floating_point():
        raise InputError(
            f"{owner} takes uint8 or floating images, got {images.dtype} from {low:.6g} to {high:.6g}; scale them "
            f"with {unit_line((low, high))}"
        )
    if not is_unit(low, high):
        seen = "NaN" if math.isnan(low) else f"values from {low:.6g} to {high:.6g}"
        advice = "replace them, for example with torch.nan_to_num(x)"
        if math.isfinite(high - low):
            advice = f"scale them with {unit_line((low, high))}"
            advice += ", or if they were normalised, apply v2.Normalize after the augmentation"
        raise RangeError(f"{owner} takes images in [0, 1], got {seen}; {advice}")


def is_unit(low: float, high: float) -> bool:
    """Return whether values from `low` to `high` are in [0, 1] up to rounding; False for NaN."""
    return low >= -1e-4 and high <= 1 + 1e-4


def extremes(images: torch.Tensor) -> tuple[float, float]:
    """Return the lowest and the highest value; both are NaN if any value is NaN."""
    comparable = images if images.is_floating_point() else images.double()  # torch cannot compare uint16
    low, high = torch.aminmax(comparable.detach())
    return float(low), float(high)


def likely_range(low: float, high: float) -> tuple[float, float]:
    """Return probable values of black and white for images with these extremes: 0 and 255, or the extremes."""
    return (0, 255) if low >= 0 and 1 < high <= 255 else (low, high)


def unit_line(seen: tuple[float, float], name: str = "x") -> str:
    """Return an expression, for messages, that scales images to [0, 1], with the observed extremes as an example."""
    low, high = likely_range(*seen)
    moved = f"({name} {'-' if low > 0 else '+'} {abs(low):.6g})" if low else name
    return f"({name} - low) / (high - low), low and high of the whole data set, here {moved} / {high - low or 1:.6g}"


def check_ratio(ratio: float) -> None:
    """Check that the number of synthetic samples per real sample is finite and not negative."""
    if not (math.isfinite(ratio) and ratio >= 0):
        raise InputError(f"ratio must be the number of synthetic samples per real sample, at least 0; got {ratio}")


def to_unit_float(images: torch.Tensor) -> torch.Tensor:
    """Convert uint8 [0, 255] or floating [0, 1] to float32 [0, 1]."""
    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(255)
    return images.to(torch.float32)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Convert floating [0, 1] to uint8 [0, 255], rounded to the nearest level."""
    if images.dtype == torch.uint8:
        return images
    return images.detach().mul(255).round_().clamp_(0, 255).to(torch.uint8)


def checked_rows(indices: Sequence[int] | np.ndarray, length: int) -> np.ndarray:
    """Return indices, also negative ones, as int64 from 0 to ``length - 1``. Raises `IndexError` or `TypeError`."""
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
    """Return whether a value of a JSON document is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _takes_channels(expected: int | None, channels: int | None) -> bool:
    return channels == expected or (expected == 3 and channels == 1)


def _channels_advice(expected: int | None, channels: int) -> str:
    """Return advice on how to convert between numbers of channels; empty if there is no usual way."""
    if channels == 3 and expected == 1:
        return "convert with v2.Grayscale(), or "
    if channels in (2, 4) and expected in (1, 3):  # v2.RGB() and v2.Grayscale() do not convert them
        last = channels - 1
        return (
            "if the last is alpha, compose them on white: "
            "x = v2.functional.to_dtype(v2.functional.to_image(x), torch.float32, scale=True), "
            f"x[..., :{last}, :, :] * x[..., {last}:, :, :] + 1 - x[..., {last}:, :, :]; or "
        )
    return ""
