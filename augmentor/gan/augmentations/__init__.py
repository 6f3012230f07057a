"""What becomes of a GAN's batches before the discriminator sees them. A new one is a file and an import line here."""

from ._base import Augmentation, Chain, augmentations, get_augmentation, needs_autoencoder
from ._probability import AdaptiveP, AnnealedP, FixedP, get_probability, probabilities
from .ada import ADA
from .both import AugmentBoth
from .diffaugment import DiffAugment
from .real import AugmentReal

__all__ = [
    "ADA",
    "AdaptiveP",
    "AnnealedP",
    "AugmentBoth",
    "AugmentReal",
    "Augmentation",
    "Chain",
    "DiffAugment",
    "FixedP",
    "augmentations",
    "get_augmentation",
    "get_probability",
    "needs_autoencoder",
    "probabilities",
]
