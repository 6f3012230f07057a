"""Augmentations of the inputs of a GAN's discriminator. To add one, add a file here and its import below."""

from ._base import Augmentation as Augmentation
from ._base import Chain, augmentations, get_augmentation, needs_autoencoder
from ._probability import PROBABILITIES, AdaptiveP, AnnealedP, FixedP, get_probability
from .ada import ADA as ADA
from .both import AugmentBoth as AugmentBoth
from .diffaugment import DiffAugment as DiffAugment
from .real import AugmentReal as AugmentReal

__all__ = ["PROBABILITIES", "AdaptiveP", "AnnealedP", "Chain", "FixedP", "augmentations", "get_augmentation",
           "get_probability", "needs_autoencoder"]  # fmt: skip
__all__ += [member.__name__ for member in augmentations.members.values()]
