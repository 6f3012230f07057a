"""A GAN that starts from a trained autoencoder."""

from __future__ import annotations

from typing import Any

from ..._internal.random import seeded
from ..._internal.registry import describe
from ..._internal.weights import fingerprint
from ...autoencoders import Autoencoder
from ..feed import Feed
from ..networks import DecoderGenerator, EncoderDiscriminator
from ..networks._decoding import take_weights
from ._adversarial import AdversarialMethod
from ._base import methods
from ._codes import fit_gaussians, frozen, real_reference, shape_of
from ._settings import GANSettings


@methods.register("ae-init")
class AEInit(AdversarialMethod):
    """BAGAN (Mariani et al. 2018): the decoder becomes the generator, the encoder the discriminator's trunk.

    A class's noise is a normal distribution fitted to the codes of its real images before training; without classes
    one is fitted to all. The paper's discriminator has an output for each class and one for generated images; here
    the class enters by projection, as in the other training methods, so that any loss will do.

    autoencoder: where to start; it stays as it is. settings: see `GANSettings`.

    >>> from augmentor import load_autoencoder
    >>> AEInit(load_autoencoder("digits"), num_classes=10).generator.latent_dim
    16
    """

    generator: DecoderGenerator

    needs_autoencoder = True

    def __init__(self, autoencoder: Autoencoder, **settings: Any):
        shared = GANSettings(**settings)
        image_shape = shape_of(autoencoder, shared.image_shape)
        with seeded(shared.seed, "init"):
            generator = DecoderGenerator(image_shape, shared.num_classes, describe(autoencoder))
            discriminator = EncoderDiscriminator(image_shape, shared.num_classes, describe(autoencoder))
        take_weights(generator.model, autoencoder)
        take_weights(discriminator.model, autoencoder)
        super().__init__(generator, discriminator, shared)
        self._start, self._fingerprint = autoencoder, fingerprint(autoencoder.state_dict())

    def prepare(self, feed: Feed) -> None:
        super().prepare(feed)
        start = frozen(self._start).to(feed.device)
        fit_gaussians(self.generator, real_reference(start, feed))
        self.generator.model.stats.load_state_dict(start.stats.state_dict())  # fitted now, where it brought none

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"starts_from": self._fingerprint}
