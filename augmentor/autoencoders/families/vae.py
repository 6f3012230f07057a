"""Convolutional variational autoencoder with a vector latent."""

from __future__ import annotations

import math

import torch

from ...exceptions import InputError
from ..base import Autoencoder, autoencoders, check_widths, gaussian_parameters, warm_up
from ..blocks import ConvDecoder, ConvEncoder


@autoencoders.register("vae")
class ConvVAE(Autoencoder):
    """Kingma and Welling 2014; `beta` weighs the KL term as in Higgins et al. 2017.

    kl_warmup: the share of training over which the KL weight rises from 0 to `beta` (Bowman et al. 2016), so that
    dimensions are not switched off before the decoder has learnt to use them.

    >>> ConvVAE((3, 32, 32), latent_dim=64, beta=0.5).latent_shape
    (64,)
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        latent_dim: int = 16,
        width: int = 32,
        beta: float = 1.0,
        kl_warmup: float = 0.2,
        likelihood: str = "bernoulli",
        corruption: str = "none",
    ):
        if not 0 <= beta < math.inf or not 0 <= kl_warmup <= 1:
            raise InputError(f"vae takes beta >= 0 and kl_warmup in [0, 1], got {beta} and {kl_warmup}")
        check_widths(self.name, latent_dim=latent_dim, width=width)
        super().__init__(image_shape, (latent_dim,), likelihood, corruption)
        self.latent_dim, self.width, self.beta, self.kl_warmup = latent_dim, width, beta, kl_warmup
        self.encoder = ConvEncoder(image_shape, width, 2 * latent_dim)
        self.decoder = ConvDecoder(image_shape, width, latent_dim)

    @classmethod
    def example(cls) -> ConvVAE:
        return cls((1, 8, 8), latent_dim=6, width=8)

    def training_losses(
        self, images: torch.Tensor, generator: torch.Generator, progress: float = 1.0
    ) -> dict[str, torch.Tensor]:
        return self._variational_losses(images, generator, self.beta * warm_up(progress, self.kl_warmup))

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return gaussian_parameters(self.encoder(2 * images - 1))

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.decoder(latents)
