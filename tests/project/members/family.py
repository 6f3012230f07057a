# augmentor/autoencoders/families/linear.py: from .linear import LinearAutoencoder as LinearAutoencoder
import math

from torch import nn

from ..base import Autoencoder, autoencoders, check_widths


@autoencoders.register("linear")
class LinearAutoencoder(Autoencoder):
    """One linear layer each way."""

    def __init__(self, image_shape=(1, 28, 28), latent_dim=8, likelihood="gaussian", corruption="none"):
        check_widths("linear", latent_dim=latent_dim)
        super().__init__(image_shape, (latent_dim,), likelihood, corruption)
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image_shape), latent_dim))
        layers = nn.Linear(latent_dim, math.prod(image_shape)), nn.Unflatten(1, tuple(image_shape))
        self.decoder = nn.Sequential(*layers)

    @classmethod
    def example(cls):
        return cls((1, 8, 8), latent_dim=6)

    def _encode(self, images):
        return self.encoder(images), None

    def _decode(self, latents):
        return self.decoder(latents)
