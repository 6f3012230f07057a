"""The two trainers under one name, and the evaluation classifier, which shows what an augmentation is worth.

May import `gan` and what is below it.
"""

from .._internal.geometry import mild_geometry
from ..autoencoders.trainer import AutoencoderTrainer
from ..gan.trainer import GANTrainer
from .classifier import small_cnn, train_classifier
from .recipes import Recipe, usual_recipes

__all__ = [
    "AutoencoderTrainer", "GANTrainer", "Recipe", "mild_geometry", "small_cnn", "train_classifier", "usual_recipes",
]  # fmt: skip
