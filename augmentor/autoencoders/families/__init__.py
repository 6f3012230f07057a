"""Autoencoder families. A new family needs a new file here and one import line below."""

from .conv import ConvAutoencoder
from .dense import DenseAutoencoder
from .spatial_kl import SpatialKLAutoencoder
from .vae import ConvVAE

__all__ = ["ConvAutoencoder", "ConvVAE", "DenseAutoencoder", "SpatialKLAutoencoder"]
