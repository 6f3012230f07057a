"""Convolutional variational autoencoder with a vector latent."""

from __future__ import annotations

from ..base import autoencoders, check_widths
from ..blocks import ConvDecoder, ConvEncoder
from ._variational import VariationalAutoencoder


@autoencoders.register("vae")
class ConvVAE(VariationalAutoencoder):
    """Variational autoencoder (Kingma and Welling 2014); `beta` weights the KL term as in Higgins et al. 2017.

    image_shape: shape (C,H,W) of the images, with sides of 8 to 128 pixels.
    latent_dim: number of latent dimensions, at least 1.
    width: number of channels at full size, at least 1; doubled at each halving of the size, at most twice.
    beta: weight of the KL term, at least 0.
    kl_warmup: fraction of the minimum number of steps over which that weight increases from 0 to `beta`, 0 to 1; see
        `VariationalAutoencoder`.
    likelihood, corruption: as in `Autoencoder`.

    Raises `ShapeError` for another image shape, and `InputError` for other values out of range.

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
        check_widths(self.name, latent_dim=latent_dim, width=width)
        super().__init__(image_shape, (latent_dim,), likelihood, corruption, beta, kl_warmup)
        self.latent_dim, self.width = latent_dim, width
        self.encoder = ConvEncoder(image_shape, width, 2 * latent_dim)
        self.decoder = ConvDecoder(image_shape, width, latent_dim)

    @classmethod
    def example(cls) -> ConvVAE:
        return cls((1, 8, 8), latent_dim=6, width=8)
