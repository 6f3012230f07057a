"""GAN networks. To add a pair, or only a generator, add a file here and its import below."""

from ._base import (
    DISCRIMINATORS,
    GENERATORS,
    Discriminator,
    Generator,
    get_discriminator,
    get_generator,
    register_discriminator,
    register_generator,
)
from .codes import CodeDiscriminator
from .codes import CodeGenerator as CodeGenerator
from .conv import ConvDiscriminator as ConvDiscriminator
from .conv import ConvGenerator as ConvGenerator
from .dcgan import DCGANDiscriminator as DCGANDiscriminator
from .dcgan import DCGANGenerator as DCGANGenerator
from .decoder import DecoderGenerator as DecoderGenerator
from .encoder import EncoderDiscriminator
from .flow import FlowGenerator as FlowGenerator
from .resnet import ResNetDiscriminator as ResNetDiscriminator
from .resnet import ResNetGenerator as ResNetGenerator

__all__ = ["DISCRIMINATORS", "GENERATORS", "CodeDiscriminator", "Discriminator", "EncoderDiscriminator", "Generator",
           "get_discriminator", "get_generator",
           "register_discriminator", "register_generator"]  # fmt: skip
__all__ += [member.__name__ for members in (GENERATORS, DISCRIMINATORS) for member in members.values()]
