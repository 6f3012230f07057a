"""The two trainers, the classifier that augmentation is measured with, and the geometry that few images need."""

from .autoencoder import AutoencoderTrainer
from .classifier import small_cnn, train_classifier
from .gan import GANTrainer
from .geometry import mild_geometry

__all__ = ["AutoencoderTrainer", "GANTrainer", "mild_geometry", "small_cnn", "train_classifier"]
