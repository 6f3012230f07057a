"""The encoder of an autoencoder as a discriminator."""

from __future__ import annotations

import math

import torch
from torch import nn

from ...autoencoders import autoencoders
from ...exceptions import InputError
from ._base import Discriminator
from ._conditioning import ProjectionHead
from ._decoding import only


class EncoderDiscriminator(Discriminator):
    """Encoder without its last layer, and a linear layer over its features (Mariani et al. 2018).

    autoencoder: string that describes the autoencoder. The class is used by a projection layer, as in the other
        discriminators.

    >>> EncoderDiscriminator((1, 8, 8), autoencoder="vae(image_shape=(1, 8, 8))")(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2])
    """

    name = "encoder"

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 0, autoencoder: str = "vae"):
        super().__init__(image_shape, 1, num_classes)
        self.autoencoder = autoencoder
        self.model = only(autoencoders.build(autoencoder), "encoder")
        if not isinstance(self.model.encoder, nn.Sequential):
            raise InputError(
                f"the encoder of {self.model.name!r} must be an nn.Sequential, whose last layer is replaced, got "
                f"{type(self.model.encoder).__name__}; use another autoencoder, such as vae"
            )
        self.model.encoder[-1] = nn.Identity()
        with torch.no_grad():
            features = self._features(torch.zeros(1, *self.image_shape, device=self.model.device))
        self.head = ProjectionHead(math.prod(features.shape[1:]), num_classes)

    @classmethod
    def example(cls, num_classes: int = 0) -> EncoderDiscriminator:
        return cls((1, 8, 8), num_classes, "vae(image_shape=(1, 8, 8), latent_dim=6, width=8)")

    def _discriminate(self, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.head(self._features((images + 1) / 2), labels)

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features (B,F) of images in [0, 1]: both outputs of `_encode`, flattened and concatenated."""
        parts = self.model._encode(self.model._adapted(images))
        return torch.cat([part.flatten(1) for part in parts if part is not None], dim=1)
