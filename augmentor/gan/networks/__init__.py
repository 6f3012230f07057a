"""GAN networks. A new pair, or a generator of its own, is a new file here and one import line below."""

from ._base import Discriminator, Generator, discriminators, generators, get_discriminator, get_generator
from .codes import CodeDiscriminator, CodeGenerator
from .dcgan import DCGANDiscriminator, DCGANGenerator
from .decoder import DecoderGenerator
from .encoder import EncoderDiscriminator
from .resnet import ResNetDiscriminator, ResNetGenerator

__all__ = [
    "CodeDiscriminator",
    "CodeGenerator",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DecoderGenerator",
    "Discriminator",
    "EncoderDiscriminator",
    "Generator",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "discriminators",
    "generators",
    "get_discriminator",
    "get_generator",
]
