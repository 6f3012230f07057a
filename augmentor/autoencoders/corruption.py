"""Noise put on an autoencoder's input while it trains, which makes it a denoising autoencoder.

Source: Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders".
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol

import torch

from .._internal.registry import Registry
from ..exceptions import InputError


class Corruption(Protocol):
    """Float images in [0, 1] => corrupted images of the same shape."""

    name: ClassVar[str]

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor: ...


corruptions: Registry[Corruption] = Registry("corruption")


@corruptions.register("none")
class NoCorruption:
    """The images as they are."""

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return images


@corruptions.register("gaussian")
class GaussianCorruption:
    """Additive normal noise of deviation `std` (in units of the [0, 1] range), clipped to [0, 1]."""

    def __init__(self, std: float = 0.3):
        if not 0 < std < math.inf:
            raise InputError(f"corruption gaussian takes std > 0, got {std}; use 'none' for no corruption")
        self.std = std

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        return (images + self.std * noise).clamp(0, 1)


@corruptions.register("masking")
class MaskingCorruption:
    """A share `rate` of the pixels set to 0, the same pixels in every channel."""

    def __init__(self, rate: float = 0.25):
        if not 0 < rate < 1:
            raise InputError(f"corruption masking takes a rate between 0 and 1, got {rate}")
        self.rate = rate

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        chance = torch.rand((len(images), 1, *images.shape[2:]), generator=generator, device=images.device)
        return images * (chance >= self.rate)
