"""The two trainers."""

from .autoencoder import AutoencoderTrainer
from .gan import GANTrainer

__all__ = ["AutoencoderTrainer", "GANTrainer"]
