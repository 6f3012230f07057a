"""Autoencoders: families, adapters of networks of other libraries, pretrained models, inference and training.

This package may import `policies` and the layers below it.
"""

from .adapters import AdaptedAutoencoder, CallableAutoencoder, DiffusersAutoencoder, PythaeAutoencoder
from .base import Autoencoder, autoencoders, get_autoencoder
from .families import ConvAutoencoder, ConvVAE, DenseAutoencoder, SpatialKLAutoencoder
from .inference import Inference, InferencePlan
from .pretrained import list_autoencoders, load_autoencoder

__all__ = [
    "AdaptedAutoencoder",
    "Autoencoder",
    "CallableAutoencoder",
    "ConvAutoencoder",
    "ConvVAE",
    "DenseAutoencoder",
    "DiffusersAutoencoder",
    "Inference",
    "InferencePlan",
    "PythaeAutoencoder",
    "SpatialKLAutoencoder",
    "autoencoders",
    "get_autoencoder",
    "list_autoencoders",
    "load_autoencoder",
]
