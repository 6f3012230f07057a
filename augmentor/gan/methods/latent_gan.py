"""The training method "latent-gan": a GAN in the latent space of an autoencoder."""

from __future__ import annotations

from typing import Any

import torch

from ..._internal.random import seeded
from ..._internal.registry import describe
from ..._internal.weights import fingerprint
from ...autoencoders import Autoencoder
from ..feed import Batch, Feed
from ..networks import CodeDiscriminator, CodeGenerator
from ..networks._decoding import take_weights
from ._adversarial import AdversarialMethod
from ._base import methods
from ._codes import frozen, real_reference, shape_of, standard_codes
from ._settings import GANSettings


@methods.register("latent-gan")
class LatentGAN(AdversarialMethod):
    """GAN of standardised latents (l-GAN, Achlioptas et al. 2018, who generate point clouds).

    The generator makes standardised latents, which the decoder turns into images, and the critic compares them with
    those of real images. The autoencoder is not trained, so images are never sharper than its reconstructions.

    autoencoder: its latents are vectors (both networks are multilayer perceptrons) or feature maps (convolutions).
    width: width of both networks, see `CodeGenerator`.
    settings: see `GANSettings`; an augmentation is refused, because the critic takes no images.

    >>> from augmentor import load_autoencoder
    >>> LatentGAN(load_autoencoder("digits"), num_classes=10).generator.latent_shape
    (16,)
    """

    generator: CodeGenerator

    needs_autoencoder = True
    takes_augmentation = False

    def __init__(self, autoencoder: Autoencoder, *, width: int = 64, **settings: Any):
        shared = GANSettings(**settings)
        image_shape = shape_of(autoencoder, shared.image_shape)
        with seeded(shared.seed, "init"):
            generator = CodeGenerator(image_shape, width, shared.num_classes, describe(autoencoder))
            discriminator = CodeDiscriminator(generator.latent_shape, width, shared.num_classes)
        take_weights(generator.model, autoencoder)
        generator.model.requires_grad_(False)
        super().__init__(generator, discriminator, shared)
        self.autoencoder = frozen(autoencoder)
        self._fingerprint = fingerprint(autoencoder.state_dict())

    def prepare(self, feed: Feed) -> None:
        super().prepare(feed)
        self.autoencoder.to(feed.device)
        real_reference(self.autoencoder, feed)  # fits the latent statistics if there are none
        take_weights(self.generator.model, self.autoencoder)

    @torch.no_grad()
    def seen(self, batch: Batch) -> Batch:
        """Return the batch with the standardised latents of its images."""
        return batch._replace(images=standard_codes(self.autoencoder, batch.images))

    def make(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.generator.codes(noise, labels)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"decoder": self._fingerprint}
