"""Base class of variational families: a Gaussian posterior, and a loss with a weighted KL term."""

from __future__ import annotations

import math

import torch

from ...exceptions import InputError
from ..base import Autoencoder


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose `encoder` maps images in [-1, 1] to means and log-variances (B, 2C, ...).

    beta: weight of the KL term, >= 0.
    kl_warmup: fraction of the minimum number of steps (`min_steps` of the trainer) over which the weight increases from
        0 to `beta` (Bowman et al. 2016), so that latent dimensions do not collapse before the decoder uses them.

    Raises `InputError` for other values.
    """

    def __init__(
        self,
        image_shape: tuple[int, int | None, int | None],
        latent_shape: tuple[int | None, ...],
        likelihood: str,
        corruption: str,
        beta: float,
        kl_warmup: float,
    ):
        if not 0 <= beta < math.inf or not 0 <= kl_warmup <= 1:
            raise InputError(f"{self.name} takes beta >= 0 and kl_warmup in [0, 1], got {beta} and {kl_warmup}")
        super().__init__(image_shape, latent_shape, likelihood, corruption)
        self.beta, self.kl_warmup = beta, kl_warmup

    def training_losses(
        self, images: torch.Tensor, generator: torch.Generator, progress: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Return the negative evidence lower bound (Kingma and Welling 2014, eq. 10) with a weighted KL term."""
        mean, log_variance = self._encode(self._adapted(self._corrupt(images, generator)))
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        output = self._decode(mean + (0.5 * log_variance).exp() * noise)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1).mean()
        beta = self.beta * (min(1.0, progress / self.kl_warmup) if self.kl_warmup > 0 else 1.0)
        return {
            "reconstruction": self._reconstruction_loss(output, images),
            "kl": beta * kl / (self.num_channels * images[0, 0].numel()),
        }

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = self.encoder(2 * images - 1).chunk(2, dim=1)
        return mean, log_variance.clamp(-16, 8)  # so that its exponential is finite
