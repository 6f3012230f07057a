"""Corruption of the training images of a denoising autoencoder.

Source: Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders".
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from ..exceptions import InputError


class Corruption:
    """Base class of maps from float images in [0, 1] to corrupted images of the same shape."""

    name: ClassVar[str]

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        raise NotImplementedError


class NoCorruption(Corruption):
    """No corruption."""

    name = "none"

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return images


class GaussianCorruption(Corruption):
    """Additive normal noise of standard deviation `std` (in units of the [0, 1] range), clipped to [0, 1]."""

    name = "gaussian"

    def __init__(self, std: float = 0.3):
        if not 0 < std < math.inf:
            raise InputError(f"corruption gaussian takes std > 0, got {std}; use 'none' for no corruption")
        self.std = std

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        return (images + self.std * noise).clamp(0, 1)


class MaskingCorruption(Corruption):
    """Masking noise: each pixel is set to 0, in all channels, with probability `rate`."""

    name = "masking"

    def __init__(self, rate: float = 0.25):
        if not 0 < rate < 1:
            raise InputError(f"corruption masking takes a rate between 0 and 1, got {rate}")
        self.rate = rate

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.rand((len(images), 1, *images.shape[2:]), generator=generator, device=images.device)
        return images * (drawn >= self.rate)


CORRUPTIONS: dict[str, type[Corruption]] = {
    member.name: member for member in (NoCorruption, GaussianCorruption, MaskingCorruption)
}
