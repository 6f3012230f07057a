"""The interface of the two networks of a GAN: noise => images, images => logits.

A family implements `_generate` and `_discriminate` on tensors that were checked.

No member normalises across the batch. Real and decoded samples are in the same batch of the discriminator, and a logit
must depend on its own row only. Without running statistics, the average of the parameters is the average of the whole
generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import nn

from ..._internal.registry import get, register
from ...exceptions import InputError, ShapeError

GENERATORS: dict[str, type[Generator]] = {}
DISCRIMINATORS: dict[str, type[Discriminator]] = {}


def register_generator(name: str) -> Callable[[type], type]:
    """Return a class decorator that adds a `Generator` to `GENERATORS`; it raises `ValueError` if the name is taken."""
    return register("generator", GENERATORS, name)


def register_discriminator(name: str) -> Callable[[type], type]:
    """Return a class decorator that adds a `Discriminator` to `DISCRIMINATORS`; `ValueError` if the name is taken."""
    return register("discriminator", DISCRIMINATORS, name)


class Generator(nn.Module):
    """Base of all generators.

    image_shape: (C, H, W), grey or RGB, 8 to 128 pixels per side. latent_dim: length of the noise. width: number of
    channels at full size. num_classes: number of classes; 0 is unconditional, otherwise each call takes labels.

    >>> generator = get_generator("dcgan").example()
    >>> generator(torch.randn(4, generator.latent_dim)).shape
    torch.Size([4, 1, 8, 8])
    """

    name: ClassVar[str]
    family: ClassVar[str] = "generator"

    def __init__(self, image_shape: Sequence[int], latent_dim: int, width: int, num_classes: int):
        super().__init__()
        _check_settings("generator", image_shape, width, num_classes)
        if latent_dim < 1:
            raise InputError(f"a generator takes latent_dim of at least 1, got latent_dim={latent_dim}")
        self.image_shape: tuple[int, int, int] = (image_shape[0], image_shape[1], image_shape[2])
        self.latent_dim, self.width, self.num_classes = latent_dim, width, num_classes

    @classmethod
    def example(cls, num_classes: int = 0) -> Generator:
        """Return a small instance for images (1,8,8), for tests, benchmarks and documentation."""
        return cls((1, 8, 8), latent_dim=6, width=8, num_classes=num_classes)

    def forward(self, noise: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Generate float images (B,C,H,W) in [0, 1] from standard normal noise (B, latent_dim) and class numbers (B,).

        Raises `ShapeError` for noise of another shape, `InputError` for missing, unexpected or invalid labels.
        """
        self._check_noise(noise)
        labels = check_labels(labels, len(noise), self.num_classes, f"the {self.name} generator")
        return self._generate(noise, labels).sigmoid()

    def _generate(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """Return the logits of pixels (B,C,H,W)."""
        raise NotImplementedError

    def _check_noise(self, noise: torch.Tensor) -> None:
        if noise.ndim != 2 or noise.shape[1] != self.latent_dim:
            raise ShapeError(
                f"the {self.name} generator takes noise (B, {self.latent_dim}), got {tuple(noise.shape)}; "
                f"use torch.randn(B, {self.latent_dim})"
            )


class Discriminator(nn.Module):
    """Base of all discriminators (critics).

    image_shape: (C, H, W), grey or RGB, 8 to 128 pixels per side. width: number of channels at full size. num_classes:
    number of classes; 0 is unconditional, otherwise each call takes labels, which enter by projection (Miyato and
    Koyama 2018).

    >>> discriminator = get_discriminator("dcgan").example()
    >>> discriminator(torch.rand(4, 1, 8, 8)).shape
    torch.Size([4])
    """

    name: ClassVar[str]
    family: ClassVar[str] = "discriminator"

    def __init__(self, image_shape: Sequence[int], width: int, num_classes: int):
        super().__init__()
        _check_settings("discriminator", image_shape, width, num_classes)
        self.image_shape: tuple[int, int, int] = (image_shape[0], image_shape[1], image_shape[2])
        self.width, self.num_classes = width, num_classes

    @classmethod
    def example(cls, num_classes: int = 0) -> Discriminator:
        """Return a small instance for images (1,8,8), for tests, benchmarks and documentation."""
        return cls((1, 8, 8), width=8, num_classes=num_classes)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits (B,), higher for real, of float images (B,C,H,W) in [0, 1] with class numbers (B,).

        Raises `ShapeError` for images of another shape, `InputError` for images of integers and for missing, unexpected
        or invalid labels. Pixel values are not checked, because that would make the host wait for an accelerator.
        """
        owner = f"the {self.name} discriminator"
        if tuple(images.shape[1:]) != self.image_shape:
            raise ShapeError(
                f"{owner} takes images (B, {', '.join(map(str, self.image_shape))}), "
                f"got {tuple(images.shape)}; resize or convert them, or build it with their image_shape"
            )
        if not images.is_floating_point():
            raise InputError(
                f"{owner} takes floating-point images in [0, 1], got {images.dtype}; "
                "use v2.ToDtype(torch.float32, scale=True)"
            )
        labels = check_labels(labels, len(images), self.num_classes, owner)
        return self._discriminate(2 * images - 1, labels)

    def _discriminate(self, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """Return the logits (B,) of images in [-1, 1]."""
        raise NotImplementedError


def check_labels(labels: torch.Tensor | None, rows: int, num_classes: int, owner: str) -> torch.Tensor | None:
    """Return class numbers (rows,) as int64 for a conditional network, None for an unconditional one."""
    if num_classes == 0:
        if labels is not None:
            raise InputError(f"{owner} is unconditional, got labels; leave them out, or build it with num_classes")
        return None
    if labels is None:
        raise InputError(f"{owner} is conditional, got no labels; pass class numbers (B,) below {num_classes}")
    if labels.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8) or labels.shape != (rows,):
        raise InputError(
            f"{owner} takes class numbers ({rows},) of dtype int64, one per row, "
            f"got {tuple(labels.shape)} of {labels.dtype}; convert soft labels with labels.argmax(1)"
        )
    if labels.device.type == "cpu" and rows and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise InputError(
            f"{owner} takes class numbers from 0 to {num_classes - 1}, "
            f"got {int(labels.min())} to {int(labels.max())}; build it with a larger num_classes, or renumber the "
            "classes"
        )
    return labels.long()


def _check_settings(kind: str, image_shape: Sequence[int], width: int, num_classes: int) -> None:
    channels, *size = image_shape
    if channels not in (1, 3) or len(size) != 2 or any(not 8 <= n <= 128 for n in size):
        raise ShapeError(
            f"a {kind} takes grey or RGB images (1 or 3, H, W) of 8 to 128 pixels per side, got {tuple(image_shape)}"
        )
    if width < 1 or num_classes < 0:
        raise InputError(
            f"a {kind} takes width >= 1 and num_classes >= 0 (0: unconditional), got {width} and {num_classes}"
        )


def get_generator(name: str) -> type[Generator]:
    """Return the generator class that is registered under this name."""
    return get(Generator.family, GENERATORS, name)


def get_discriminator(name: str) -> type[Discriminator]:
    """Return the discriminator class that is registered under this name."""
    return get(Discriminator.family, DISCRIMINATORS, name)
