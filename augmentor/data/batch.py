"""Append rows to all fields of a batch, and keep its structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors

from .._internal.samples import split_item
from .._internal.transfer import sent
from ..exceptions import InputError


def with_rows(
    batch: Any, images: torch.Tensor, labels: torch.Tensor | None, rows: np.ndarray, *, masks: bool = False
) -> Any:
    """Return the batch with these images and labels; `rows` of every other field are repeated at its end.

    A dict remains a dict, any other structure becomes a tuple. All tensors are moved to the device of the images.
    masks: whether fields with one value per pixel are accepted; if not, they raise `InputError`. So do fields that do
    not have one row per image.
    """
    old_images, old_labels = split_item(batch)
    if batch is old_images:
        return images

    def longer(part: Any) -> Any:
        if part is old_images:
            return images
        return labels if part is old_labels else repeated(part)

    def repeated(part: Any) -> Any:
        if isinstance(part, torch.Tensor) and part.shape[:1] == (len(old_images),):
            if not masks and part.ndim > 2 and part.shape[-2:] == images.shape[-2:]:
                raise InputError(
                    f"got a batch with images {tuple(old_images.shape)} and a tensor {tuple(part.shape)}, a mask or "
                    "another image, which would not match the synthetic images; expected no other tensor of that size, "
                    "or a policy that keeps geometry, 'smooth'"
                )
            part = sent(part, images.device)
            return torch.cat([part, part[sent(torch.from_numpy(rows), images.device)]])
        if isinstance(part, dict):
            return {key: repeated(value) for key, value in part.items()}
        if isinstance(part, (list, tuple)) and len(part) == len(old_images) and not _holds_tensors(part):
            return [*part, *(part[row] for row in rows)]
        if part is None:
            return None
        raise InputError(
            f"got a batch of {len(old_images)} images with {part!r:.60}; expected tensors (B, ...), lists of B entries "
            "or dicts of these, so that a synthetic row copies those of its source: remove this field in the collate_fn"
        )

    if isinstance(batch, dict):
        return {key: longer(part) for key, part in batch.items()}
    parts = tuple(longer(part) for part in batch)
    return parts if len(parts) > 1 else images


def with_parts(batch: Any, **parts: torch.Tensor) -> Any:
    """Return the batch with more parts: under their names in a dict, at the end of a tuple."""
    if isinstance(batch, dict):
        return {**batch, **parts}
    return (*(batch if isinstance(batch, tuple) else (batch,)), *parts.values()) if parts else batch


def _holds_tensors(parts: Any) -> bool:
    """Whether there are plain tensors, as in a collated field. Boxes, masks and keypoints are one entry per image."""
    return any(isinstance(part, torch.Tensor) and not isinstance(part, tv_tensors.TVTensor) for part in parts)
