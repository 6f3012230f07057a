"""Reconstruction error of an autoencoder."""

from __future__ import annotations

from typing import Any

import torch

from .._internal.checks import to_unit_float
from .._internal.datasets import batches
from ..exceptions import DataError


def psnr(made: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return the PSNR (B,) in decibels of images `made` (B,C,H,W) against `images`; both are floating in [0, 1]."""
    return -10 * (made - images).square().flatten(1).mean(1).clamp_min(1e-10).log10()


@torch.no_grad()
def reconstruction_psnr(autoencoder: Any, dataset: Any, batch_size: int = 256) -> float:
    """Return the mean peak signal-to-noise ratio of reconstructed images, in decibels; higher is better.

    autoencoder: a module that maps images (B,C,H,W) to reconstructions in [0, 1]. dataset: map-style, or batches.

    >>> round(reconstruction_psnr(lambda images: images + 0.1, [torch.zeros(4, 1, 8, 8)]), 2)
    20.0
    """
    total, count = 0.0, 0
    for images, _ in batches(dataset, batch_size, "reconstructing"):
        device = getattr(autoencoder, "device", images.device)
        images = to_unit_float(images.to(device))
        total += float(psnr(autoencoder(images), images).sum())
        count += len(images)
    if count == 0:
        raise DataError("got no images to reconstruct; expected a data set or batches with at least one image")
    return total / count
