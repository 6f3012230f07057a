"""The training method "ae-init": a GAN that starts from a trained autoencoder and reconstructs the real images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ..._internal.random import seeded
from ..._internal.registry import describe
from ..._internal.weights import fingerprint
from ...autoencoders import Autoencoder
from ...exceptions import InputError
from ..feed import Batch, Feed
from ..networks import DecoderGenerator, EncoderDiscriminator
from ..networks._decoding import take_weights
from ._adversarial import AdversarialMethod
from ._base import methods
from ._codes import fit_codes, frozen, real_reference, shape_of, standard_codes
from ._settings import GANSettings


@methods.register("ae-init")
class AEInit(AdversarialMethod):
    """GAN initialised from an autoencoder, as in BAGAN (Mariani et al. 2018).

    The generator starts as the decoder, and the discriminator as the layers of the encoder except the last. The
    generator decodes codes drawn around those of real images (see `DecoderGenerator`). In addition to the adversarial
    loss it minimises ``reconstruct * |x - G(E(x))|^2``, a mean over pixels, with the encoder E as it was before
    training, so that it continues to reconstruct the real images (compare Srivastava et al. 2017).

    The paper's training is ``reconstruct=0, bandwidth=1``. Its discriminator has one output per class and one for
    generated images; here the class is used by a projection layer, so that any loss can be used.

    autoencoder: a trained one, which is not changed. reconstruct: weight of the reconstruction, at least 0. bandwidth:
        bandwidth of the kernel density estimate of the codes, above 0 and at most 1; 1 is one normal distribution per
        class.
    settings: see `GANSettings`.

    >>> from augmentor import load_autoencoder
    >>> AEInit(load_autoencoder("digits"), num_classes=10).reconstruct
    5.0
    """

    generator: DecoderGenerator

    needs_autoencoder = True

    def __init__(self, autoencoder: Autoencoder, *, reconstruct: float = 5.0, bandwidth: float = 0.5, **settings: Any):
        if not reconstruct >= 0:
            raise InputError(f"ae-init takes reconstruct >= 0, got {reconstruct}")
        shared = GANSettings(**settings)
        image_shape = shape_of(autoencoder, shared.image_shape)
        with seeded(shared.seed, "init"):
            generator = DecoderGenerator(image_shape, shared.num_classes, describe(autoencoder), bandwidth=bandwidth)
            discriminator = EncoderDiscriminator(image_shape, shared.num_classes, describe(autoencoder))
        take_weights(generator.model, autoencoder)
        take_weights(discriminator.model, autoencoder)
        super().__init__(generator, discriminator, shared)
        self.reconstruct = reconstruct
        self._start, self._fingerprint = frozen(autoencoder), fingerprint(autoencoder.state_dict())

    def prepare(self, feed: Feed) -> None:
        super().prepare(feed)
        self._start.to(feed.device)
        fit_codes(self.generator, real_reference(self._start, feed))
        self.generator.model.stats.load_state_dict(self._start.stats.state_dict())  # real_reference may have fitted it

    def generator_losses(self, made: torch.Tensor, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        losses = super().generator_losses(made, logits, batch)
        if self.reconstruct:
            with torch.no_grad():
                codes = standard_codes(self._start, batch.images)
            drawn = self.generator.draw(codes).float()
            losses["reconstruction"] = self.reconstruct * F.mse_loss(drawn, batch.images)
        return losses

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"starts_from": self._fingerprint, "reconstruct": self.reconstruct}
