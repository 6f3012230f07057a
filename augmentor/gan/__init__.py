"""Generative adversarial networks: networks, losses, training methods, augmentations, and the trainer.

May import: `transform`, `data`, `shards`, `autoencoders`, `policies`, `quality`, `latents`, `_internal`, `exceptions`.
"""

from .augmentations import AdaptiveP, AnnealedP, Augmentation, augmentations, get_augmentation, needs_autoencoder
from .losses import GANLoss, get_loss, losses, r1_penalty
from .methods import GAN, AdversarialMethod, TrainingMethod, cannot_do_without, get_method, methods
from .networks import Discriminator, Generator, discriminators, generators
from .trainer import GANTrainer

__all__ = [
    "GAN",
    "AdaptiveP",
    "AdversarialMethod",
    "AnnealedP",
    "Augmentation",
    "Discriminator",
    "GANLoss",
    "GANTrainer",
    "Generator",
    "TrainingMethod",
    "augmentations",
    "cannot_do_without",
    "discriminators",
    "generators",
    "get_augmentation",
    "get_loss",
    "get_method",
    "losses",
    "needs_autoencoder",
    "r1_penalty",
    "methods",
]
