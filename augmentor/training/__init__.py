"""The two trainers, the systems that a GAN's can train, the classifier that measures augmentation, and geometry."""

from .augmentations import AdaptiveP, AnnealedP, augmentations, get_augmentation
from .autoencoder import AutoencoderTrainer
from .classifier import small_cnn, train_classifier
from .gan import GANTrainer
from .geometry import mild_geometry
from .systems import GAN, AdversarialSystem, System, get_system, systems

__all__ = [
    "GAN",
    "AdaptiveP",
    "AnnealedP",
    "AdversarialSystem",
    "AutoencoderTrainer",
    "GANTrainer",
    "System",
    "augmentations",
    "get_augmentation",
    "get_system",
    "mild_geometry",
    "small_cnn",
    "systems",
    "train_classifier",
]
