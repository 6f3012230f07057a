"""The two trainers under one name, and the evaluation classifier, which shows what an augmentation is worth.

May import `gan` and what is below it.
"""

from .._internal.geometry import mild_geometry
from ..autoencoders.trainer import AutoencoderTrainer
from ..gan.trainer import GANTrainer
from .classifier import small_cnn, train_classifier
from .pseudo_labels import PseudoLabelTraining, train_with_pseudo_labels
from .recipes import Recipe, usual_recipes

__all__ = [
    "AutoencoderTrainer", "GANTrainer", "PseudoLabelTraining", "Recipe", "mild_geometry", "small_cnn",
    "train_classifier", "train_with_pseudo_labels", "usual_recipes",
]  # fmt: skip
