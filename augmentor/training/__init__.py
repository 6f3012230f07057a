"""The two trainers."""

from .autoencoder import AutoencoderTrainer

__all__ = ["AutoencoderTrainer"]
