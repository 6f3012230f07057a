"""GAN networks. A new pair is a new file here and one import line below."""

from ._base import (
    Discriminator,
    Generator,
    discriminators,
    generators,
    get_discriminator,
    get_generator,
)
from .dcgan import DCGANDiscriminator, DCGANGenerator
from .resnet import ResNetDiscriminator, ResNetGenerator

__all__ = [
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Discriminator",
    "Generator",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "discriminators",
    "generators",
    "get_discriminator",
    "get_generator",
]
