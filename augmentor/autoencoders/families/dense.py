"""Fully connected autoencoder, such as the classic 784-32-784, or deeper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

from ...exceptions import InputError
from ..base import Autoencoder, autoencoders


@autoencoders.register("dense")
class DenseAutoencoder(Autoencoder):
    """Linear layers with ReLU between them. The latent has no ReLU, so that its values can be negative.

    image_shape: shape (C,H,W) of the images, with sides of 8 to 128 pixels.
    latent_dim: number of latent dimensions, at least 1.
    hidden: widths of layers between the image and the latent, each at least 1, mirrored in the decoder. Default: no
        such layers, the classic one-layer network (Hinton and Salakhutdinov 2006 for deeper ones).
    likelihood, corruption: as in `Autoencoder`.

    Raises `ShapeError` for another image shape, and `InputError` for other values out of range.

    >>> DenseAutoencoder((1, 28, 28), latent_dim=32).latent_shape
    (32,)
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        latent_dim: int = 32,
        hidden: Sequence[int] = (),
        likelihood: str = "bernoulli",
        corruption: str = "none",
    ):
        if latent_dim < 1 or any(width < 1 for width in hidden):
            raise InputError(f"dense takes positive widths, got latent_dim={latent_dim}, hidden={list(hidden)}")
        super().__init__(image_shape, (latent_dim,), likelihood, corruption)
        self.latent_dim, self.hidden = latent_dim, tuple(hidden)
        widths = [math.prod(image_shape), *hidden, latent_dim]
        self.encoder = nn.Sequential(nn.Flatten(), *_layers(widths))
        self.decoder = nn.Sequential(*_layers(widths[::-1]), nn.Unflatten(1, tuple(image_shape)))

    @classmethod
    def example(cls) -> DenseAutoencoder:
        return cls((1, 8, 8), latent_dim=6, hidden=(32,))

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.encoder(images), None


def _layers(widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]
