"""Autoencoders: families, adapters of other libraries' networks, pretrained ones, inference, and their trainer.

May import `policies` and what is below it.
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
