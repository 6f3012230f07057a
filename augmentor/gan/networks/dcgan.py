"""The pair "dcgan": transposed convolutions in the generator, strided in the discriminator (Radford et al. 2016)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ...autoencoders.blocks import Down, pyramid, widths
from ._base import Discriminator, Generator, register_discriminator, register_generator
from ._conditioning import ConditionalNorm, ProjectionHead


@register_generator("dcgan")
class DCGANGenerator(Generator):
    """Linear layer to a small feature map, then transposed convolutions that double its size; with group norm.

    >>> DCGANGenerator((3, 32, 32), num_classes=10)(torch.randn(2, 64), torch.tensor([3, 7])).shape
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
        channels, *size = self.image_shape
        self._sizes = pyramid(*size)[::-1]
        levels = widths(width, len(self._sizes))[::-1]
        self.stem = nn.Sequential(
            nn.Linear(latent_dim, levels[0] * math.prod(self._sizes[0])),
            nn.Unflatten(1, (levels[0], *self._sizes[0])),
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(levels)
        )
        self.norms = nn.ModuleList(ConditionalNorm(level, num_classes) for level in levels)
        self.to_image = nn.Conv2d(levels[-1], channels, 3, padding=1)

    def _generate(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        x = F.relu(self.norms[0](self.stem(noise), labels))
        for up, norm, (height, width) in zip(self.ups, self.norms[1:], self._sizes[1:], strict=True):
            x = up(x)[..., :height, :width]  # if the size is odd, one row or column too many
            x = F.relu(norm(x, labels))
        return self.to_image(x)


@register_discriminator("dcgan")
class DCGANDiscriminator(Discriminator):
    """Strided convolutions with group norm, then a linear layer over the whole feature map.

    >>> DCGANDiscriminator((3, 32, 32), num_classes=10)(torch.rand(2, 3, 32, 32), torch.tensor([3, 7])).shape
    torch.Size([2])
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), width: int = 32, num_classes: int = 0):
        super().__init__(image_shape, width, num_classes)
        channels, *size = self.image_shape
        sizes = pyramid(*size)
        levels = widths(width, len(sizes))
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.SiLU(),
            *(Down(before, after) for before, after in pairwise(levels)),
            nn.Flatten(),
        )
        self.head = ProjectionHead(levels[-1] * math.prod(sizes[-1]), num_classes)

    def _discriminate(self, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.head(self.features(images), labels)
