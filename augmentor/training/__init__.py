"""The two trainers under one name, and the classifier that augmentation is evaluated with.

May import: `gan`, `transform`, `data`, `autoencoders`, `latents`, `_internal`, `exceptions`.
"""

from .._internal.geometry import mild_geometry
from ..autoencoders.trainer import AutoencoderTrainer
from ..gan.trainer import GANTrainer
from .classifier import small_cnn, train_classifier

__all__ = ["AutoencoderTrainer", "GANTrainer", "mild_geometry", "small_cnn", "train_classifier"]
