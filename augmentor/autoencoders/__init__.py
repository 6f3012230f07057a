"""Autoencoder families. A new one is a new file here and one import line below."""

from ._base import Autoencoder, Posterior, autoencoders, get_autoencoder
from .conv import ConvAutoencoder
from .dense import DenseAutoencoder
from .spatial_kl import SpatialKLAutoencoder
from .vae import ConvVAE

__all__ = [
    "Autoencoder",
    "ConvAutoencoder",
    "ConvVAE",
    "DenseAutoencoder",
    "Posterior",
    "SpatialKLAutoencoder",
    "autoencoders",
    "get_autoencoder",
]
