"""Generative adversarial networks: networks, losses, training methods, augmentations, and the trainer.

A *code* is the standardised latent of an image, which a decoder turns into an image.

This package may import `transform` and the layers below it.
"""

from .augmentations import AdaptiveP, AnnealedP, Augmentation, get_augmentation, needs_autoencoder
from .losses import GANLoss, get_loss, r1_penalty
from .methods import GAN, AdversarialMethod, GANSettings, TrainingMethod, get_method, method_class
from .networks import Discriminator, Generator
from .pretrained import list_generators, load_generator
from .start import starting_autoencoder
from .trainer import GANTrainer

__all__ = [
    "GAN",
    "AdaptiveP",
    "AdversarialMethod",
    "AnnealedP",
    "Augmentation",
    "Discriminator",
    "GANLoss",
    "GANSettings",
    "GANTrainer",
    "Generator",
    "TrainingMethod",
    "get_augmentation",
    "get_loss",
    "get_method",
    "list_generators",
    "load_generator",
    "method_class",
    "needs_autoencoder",
    "r1_penalty",
    "starting_autoencoder",
]
