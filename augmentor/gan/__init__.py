"""Generative adversarial networks: the networks, the losses, and a regulariser that goes with every loss."""

from .losses import GANLoss, Hinge, LeastSquares, NonSaturating, WassersteinGP, get_loss, losses
from .networks import (
    CodeDiscriminator,
    CodeGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    DecoderGenerator,
    Discriminator,
    EncoderDiscriminator,
    Generator,
    ResNetDiscriminator,
    ResNetGenerator,
    discriminators,
    generators,
    get_discriminator,
    get_generator,
)
from .r1 import r1_penalty

__all__ = [
    "CodeDiscriminator",
    "CodeGenerator",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DecoderGenerator",
    "Discriminator",
    "EncoderDiscriminator",
    "GANLoss",
    "Generator",
    "Hinge",
    "LeastSquares",
    "NonSaturating",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "WassersteinGP",
    "discriminators",
    "generators",
    "get_discriminator",
    "get_generator",
    "get_loss",
    "losses",
    "r1_penalty",
]
