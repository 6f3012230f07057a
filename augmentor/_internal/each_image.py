"""Random transforms with parameters per image, computed for the whole batch at once where possible."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as VF

from .colour import jitter_each
from .geometry import EdgeAffine, affine_each, mode_of
from .samples import image_to_tensor


def transform_each(transform: Callable[[Any], Any], images: torch.Tensor) -> torch.Tensor:
    """Apply a transform to each image of a batch (B,C,H,W), uint8 or floating in [0, 1].

    torchvision draws one set of parameters per call. `RandomAffine`, `RandomCrop`, `RandomHorizontalFlip` and
    `ColorJitter`, also at the beginning or end of a `Compose`, are computed here for all images at once, with
    parameters per image from torch's global generator. Other transforms are called image by image, which takes about
    ten times as long.

    >>> transform_each(v2.RandomCrop(28, padding=2), torch.rand(5, 1, 28, 28)).shape
    torch.Size([5, 1, 28, 28])
    """
    if isinstance(transform, v2.Compose):
        first, middle, last = _split(transform.transforms, images)
        for part in first:
            images = transform_each(part, images)
        if middle:
            images = _one_by_one(v2.Compose(middle), images)
        for part in last:
            images = transform_each(part, images)
        return images
    if not _takes_batches(transform, images):
        return _one_by_one(transform, images)
    match transform:
        case v2.RandomHorizontalFlip():
            chosen = torch.rand(len(images)) < transform.p
            return torch.where(chosen.to(images.device)[:, None, None, None], images.flip(3), images)
        case v2.RandomCrop():
            return _crop_each(transform, images)
        case v2.ColorJitter():
            return jitter_each(transform, images)
        case _:
            return affine_each(transform, images)


def _one_by_one(transform: Callable[[Any], Any], images: torch.Tensor) -> torch.Tensor:
    return torch.stack([image_to_tensor(transform(image)) for image in images])


def _split(parts: Sequence[Any], images: torch.Tensor) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """Split a pipeline into the first and the last parts that take batches, and the parts between them."""

    def leading(parts: Sequence[Any]) -> int:
        return len(list(itertools.takewhile(lambda part: _takes_batches(part, images), parts)))

    start = leading(parts)
    end = len(parts) - leading(parts[start:][::-1])
    return parts[:start], parts[start:end], parts[end:]


def _takes_batches(transform: Any, images: torch.Tensor) -> bool:
    """Return whether the transform can be computed for a whole batch at once."""
    is_usual = images.is_floating_point() or images.dtype == torch.uint8
    match transform:
        case v2.Compose():
            return all(_takes_batches(part, images) for part in transform.transforms)
        case _ if type(transform) not in _KNOWN:  # subclasses may behave differently
            return False
        case v2.RandomAffine():
            simple = isinstance(transform.fill, (int, float)) and transform.center is None
            return is_usual and simple and mode_of(transform) in ("nearest", "bilinear")
        case v2.RandomCrop():
            return isinstance(transform.fill, (int, float))
        case v2.ColorJitter():
            return is_usual and images.shape[1] == 3
        case _:
            return True


_KNOWN = (v2.RandomAffine, EdgeAffine, v2.RandomCrop, v2.ColorJitter, v2.RandomHorizontalFlip)


def _crop_each(crop: v2.RandomCrop, images: torch.Tensor) -> torch.Tensor:
    """Pad if needed and crop each image, with the same draws as image by image."""
    drawn = [crop.make_params([image]) for image in images]
    if drawn[0]["needs_pad"]:
        images = VF.pad(images, drawn[0]["padding"], fill=crop.fill, padding_mode=crop.padding_mode)
    tops, lefts = (torch.tensor([params[name] for params in drawn]) for name in ("top", "left"))
    height, width = crop.size
    rows, columns = tops[:, None] + torch.arange(height), lefts[:, None] + torch.arange(width)
    samples, channels = torch.arange(len(images))[:, None, None, None], torch.arange(images.shape[1])[:, None, None]
    return images[samples, channels, rows[:, None, :, None], columns[:, None, None, :]]
