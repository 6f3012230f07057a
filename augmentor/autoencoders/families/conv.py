"""Convolutional autoencoder with a vector latent."""

from __future__ import annotations

from ..base import Autoencoder, autoencoders, check_widths
from ..blocks import ConvDecoder, ConvEncoder


@autoencoders.register("conv")
class ConvAutoencoder(Autoencoder):
    """Convolutional autoencoder: strided convolutions to a vector, then upsampling and convolutions to an image.

    image_shape: shape (C,H,W) of the images, with sides of 8 to 128 pixels.
    latent_dim: number of latent dimensions, at least 1.
    width: number of channels at full size, at least 1; doubled at each halving of the size, at most twice.
    likelihood, corruption: as in `Autoencoder`.

    Raises `ShapeError` for another image shape, and `InputError` for other values out of range.

    >>> ConvAutoencoder((3, 32, 32), latent_dim=64).latent_shape
    (64,)
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        latent_dim: int = 32,
        width: int = 32,
        likelihood: str = "bernoulli",
        corruption: str = "none",
    ):
        check_widths(self.name, latent_dim=latent_dim, width=width)
        super().__init__(image_shape, (latent_dim,), likelihood, corruption)
        self.latent_dim, self.width = latent_dim, width
        self.encoder = ConvEncoder(image_shape, width, latent_dim)
        self.decoder = ConvDecoder(image_shape, width, latent_dim)

    @classmethod
    def example(cls) -> ConvAutoencoder:
        return cls((1, 8, 8), latent_dim=6, width=8)
