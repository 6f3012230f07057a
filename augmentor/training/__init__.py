"""The trainers of autoencoders and GANs, and the evaluation classifier, which measures the effect of augmentations.

This package may import `gan` and the layers below it.
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
