"""The training method "gan": a generator and a discriminator in alternating steps."""

from __future__ import annotations

from typing import Any

from ..networks import Discriminator, Generator
from ._adversarial import AdversarialMethod, network_pair
from ._base import methods
from ._settings import GANSettings


@methods.register("gan")
class GAN(AdversarialMethod):
    """GAN (Goodfellow et al. 2014) with any loss and augmentation.

    network: a string such as ``"dcgan(width=48)"``, or a generator and a discriminator, which are trained in place;
        conditional if built with `num_classes`. settings: see `GANSettings`.

    >>> GAN("dcgan(width=8)", image_shape=(1, 8, 8)).generator.image_shape
    (1, 8, 8)
    """

    def __init__(self, network: str | tuple[Generator, Discriminator] = "conv", **settings: Any):
        shared = GANSettings(**settings)
        super().__init__(*network_pair(network, shared.image_shape, shared.num_classes, shared.seed), shared)
