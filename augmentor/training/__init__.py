"""The two trainers, the systems that a GAN's can train, and the geometry that few images need."""

from .augmentations import AdaptiveP, augmentations, get_augmentation
from .autoencoder import AutoencoderTrainer
from .gan import GANTrainer
from .geometry import mild_geometry
from .systems import GAN, AdversarialSystem, System, get_system, systems

__all__ = [
    "GAN",
    "AdaptiveP",
    "AdversarialSystem",
    "AutoencoderTrainer",
    "GANTrainer",
    "System",
    "augmentations",
    "get_augmentation",
    "get_system",
    "mild_geometry",
    "systems",
]
