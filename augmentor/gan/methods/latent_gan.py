"""A GAN of codes: neither network sees a picture."""

from __future__ import annotations

from typing import Any

import torch

from ..._internal.random import seeded
from ..._internal.registry import describe
from ..._internal.weights import fingerprint
from ...autoencoders import Autoencoder
from ..feed import Batch, Feed
from ..losses import GANLoss
from ..networks import CodeDiscriminator, CodeGenerator
from ..networks._decoding import take_weights
from ._adversarial import AdversarialMethod
from ._base import methods
from ._codes import frozen, real_reference, shape_of, standard_codes


@methods.register("latent-gan")
class LatentGAN(AdversarialMethod):
    """The generator makes standard latents, the critic tells them from those of real images, the decoder draws.

    The autoencoder stays as it is, so images are never sharper than its reconstructions, and a step is cheap. It is
    what Achlioptas et al. (2018) call l-GAN, there on point clouds.

    autoencoder: with latents that are vectors (both networks are perceptrons) or feature maps (convolutions).
    width: of both networks, see `CodeGenerator`.
    The other settings are those of `GAN`; nothing is augmented, since no images are shown.

    >>> from augmentor import load_autoencoder
    >>> LatentGAN(load_autoencoder("digits"), num_classes=10).generator.latent_shape
    (16,)
    """

    generator: CodeGenerator

    def __init__(
        self,
        autoencoder: Autoencoder,
        *,
        image_shape: tuple[int, int, int] | None = None,
        num_classes: int = 0,
        loss: str | GANLoss = "nonsaturating",
        lr: float = 2e-4,
        r1_gamma: float | None = None,
        r1_every: int = 4,
        discriminator_steps: int = 1,
        width: int = 64,
        seed: int = 0,
    ):
        image_shape = shape_of(autoencoder, image_shape)
        with seeded(seed, "init"):
            generator = CodeGenerator(image_shape, width, num_classes, describe(autoencoder))
            discriminator = CodeDiscriminator(generator.latent_shape, width, num_classes)
        take_weights(generator.model, autoencoder)
        generator.model.requires_grad_(False)
        super().__init__(
            generator,
            discriminator,
            loss=loss,
            lr=lr,
            r1_gamma=r1_gamma,
            r1_every=r1_every,
            discriminator_steps=discriminator_steps,
        )
        self.autoencoder = frozen(autoencoder)
        self._fingerprint = fingerprint(autoencoder.state_dict())

    def prepare(self, feed: Feed) -> None:
        super().prepare(feed)
        self.autoencoder.to(feed.device)
        real_reference(self.autoencoder, feed)  # statistics, where it brought none
        take_weights(self.generator.model, self.autoencoder)

    @torch.no_grad()
    def seen(self, batch: Batch) -> Batch:
        """The codes of real images."""
        return batch._replace(images=standard_codes(self.autoencoder, batch.images))

    def make(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.generator.codes(noise, labels)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"decoder": self._fingerprint}
