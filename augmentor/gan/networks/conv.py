"""The networks of `ConvVAE` as a pair: the decoder as generator, the encoder as discriminator."""

from __future__ import annotations

import torch
from torch import nn

from ...autoencoders.blocks import ConvDecoder, ConvEncoder
from ._base import Discriminator, Generator, register_discriminator, register_generator
from ._conditioning import ProjectionHead


@register_generator("conv")
class ConvGenerator(Generator):
    """Decoder of `ConvVAE` with random weights. The mean of the noise of each class is learned.

    >>> ConvGenerator((3, 32, 32), num_classes=10)(torch.randn(2, 64), torch.tensor([3, 7])).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        latent_dim: int = 64,
        width: int = 32,
        num_classes: int = 0,
    ):
        super().__init__(image_shape, latent_dim, width, num_classes)
        self.of_class = nn.Embedding(num_classes, latent_dim) if num_classes else None
        self.decoder = ConvDecoder(self.image_shape, width, latent_dim)

    def _generate(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.decoder(noise if self.of_class is None else noise + self.of_class(labels))


@register_discriminator("conv")
class ConvDiscriminator(Discriminator):
    """Encoder of `ConvVAE` with random weights, without its last layer, and a linear layer over its features.

    >>> ConvDiscriminator((3, 32, 32), num_classes=10)(torch.rand(2, 3, 32, 32), torch.tensor([3, 7])).shape
    torch.Size([2])
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), width: int = 32, num_classes: int = 0):
        super().__init__(image_shape, width, num_classes)
        *features, last = ConvEncoder(self.image_shape, width, 1)
        assert isinstance(last, nn.Linear)
        self.features = nn.Sequential(*features)
        self.head = ProjectionHead(last.in_features, num_classes)

    def _discriminate(self, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.head(self.features(images), labels)
