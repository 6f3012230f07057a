"""A GAN that starts from a trained autoencoder."""

from __future__ import annotations

from typing import Any

from ..._internal.random import seeded
from ..._internal.registry import describe
from ..._internal.weights import fingerprint
from ...autoencoders import Autoencoder
from ..augmentations import Augmentation
from ..feed import Feed
from ..losses import GANLoss
from ..networks import DecoderGenerator, EncoderDiscriminator
from ..networks._decoding import take_weights
from ._adversarial import AdversarialMethod
from ._base import methods
from ._codes import fit_gaussians, frozen, real_reference, shape_of


@methods.register("ae-init")
class AEInit(AdversarialMethod):
    """BAGAN (Mariani et al. 2018): the decoder becomes the generator, the encoder the discriminator's trunk.

    A class's noise is a normal distribution fitted to the codes of its real images before training; without classes
    one is fitted to all. The paper's discriminator has an output for each class and one for generated images; here
    the class enters by projection, as in the other training methods, so that any loss will do.

    autoencoder: where to start; it stays as it is. The other settings are those of `GAN`.

    >>> from augmentor import load_autoencoder
    >>> AEInit(load_autoencoder("digits"), num_classes=10).generator.latent_dim
    16
    """

    generator: DecoderGenerator

    def __init__(
        self,
        autoencoder: Autoencoder,
        *,
        image_shape: tuple[int, int, int] | None = None,
        num_classes: int = 0,
        loss: str | GANLoss = "nonsaturating",
        augmentation: str | Augmentation = "none",
        lr: float = 2e-4,
        r1_gamma: float | None = None,
        r1_every: int = 4,
        discriminator_steps: int = 1,
        seed: int = 0,
    ):
        image_shape = shape_of(autoencoder, image_shape)
        with seeded(seed, "init"):
            generator = DecoderGenerator(image_shape, num_classes, describe(autoencoder))
            discriminator = EncoderDiscriminator(image_shape, num_classes, describe(autoencoder))
        take_weights(generator.model, autoencoder)
        take_weights(discriminator.model, autoencoder)
        super().__init__(
            generator,
            discriminator,
            loss=loss,
            augmentation=augmentation,
            lr=lr,
            r1_gamma=r1_gamma,
            r1_every=r1_every,
            discriminator_steps=discriminator_steps,
        )
        self._start, self._fingerprint = autoencoder, fingerprint(autoencoder.state_dict())

    def prepare(self, feed: Feed) -> None:
        super().prepare(feed)
        start = frozen(self._start).to(feed.device)
        fit_gaussians(self.generator, real_reference(start, feed))
        self.generator.model.stats.load_state_dict(start.stats.state_dict())  # fitted now, where it brought none

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"starts_from": self._fingerprint}
