"""The two trainers, and the geometry that few images need."""

from .autoencoder import AutoencoderTrainer
from .gan import GANTrainer
from .geometry import mild_geometry

__all__ = ["AutoencoderTrainer", "GANTrainer", "mild_geometry"]
