"""A residual pair with spectral norm in the discriminator, after SNGAN (Miyato et al. 2018).

One convolution per block runs at the smaller size, which halves the time; in the paper both run at the larger size.

The vectors of the power iteration of the spectral norm are buffers, which are saved with the weights. Only a forward
pass in train mode changes them, so a loaded network gives bit-identical logits in eval mode.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ...autoencoders.blocks import EnlargingConv2d, pyramid, widths
from ._base import Discriminator, Generator, register_discriminator, register_generator
from ._conditioning import ConditionalNorm, ProjectionHead


class _UpBlock(nn.Module):
    """Norm, ReLU, convolution; norm, ReLU, enlarging convolution; with a resized 1x1 convolution as shortcut."""

    def __init__(self, channels_in: int, channels_out: int, size: tuple[int, int], num_classes: int):
        super().__init__()
        self.size = size
        self.norm1 = ConditionalNorm(channels_in, num_classes)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = ConditionalNorm(channels_out, num_classes)
        self.conv2 = EnlargingConv2d(channels_out, channels_out, size)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        h = self.conv1(F.relu(self.norm1(x, labels)))
        h = self.conv2(F.relu(self.norm2(h, labels)))
        return h + F.interpolate(self.shortcut(x), size=self.size, mode="nearest")


class _DownBlock(nn.Module):
    """ReLU, convolution; pooling to half the size, rounded up; ReLU, convolution; with a pooled 1x1 shortcut."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.conv1 = spectral_norm(nn.Conv2d(channels_in, channels_out, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(channels_in, channels_out, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.avg_pool2d(self.conv1(F.relu(x)), 2, ceil_mode=True)
        return self.conv2(F.relu(h)) + self.shortcut(F.avg_pool2d(x, 2, ceil_mode=True))


@register_generator("resnet")
class ResNetGenerator(Generator):
    """Linear layer to a small feature map, then residual blocks that double its size; with group norm.

    >>> ResNetGenerator((3, 32, 32), num_classes=10)(torch.randn(2, 64), torch.tensor([3, 7])).shape
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
        sizes = pyramid(*size)[::-1]
        levels = widths(width, len(sizes))[::-1]
        self.stem = nn.Sequential(
            nn.Linear(latent_dim, levels[0] * math.prod(sizes[0])), nn.Unflatten(1, (levels[0], *sizes[0]))
        )
        self.blocks = nn.ModuleList(
            _UpBlock(before, after, to, num_classes)
            for before, after, to in zip(levels, levels[1:], sizes[1:], strict=False)
        )
        self.norm = ConditionalNorm(levels[-1], num_classes)
        self.to_image = nn.Conv2d(levels[-1], channels, 3, padding=1)

    def _generate(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        x = self.stem(noise)
        for block in self.blocks:
            x = block(x, labels)
        return self.to_image(F.relu(self.norm(x, labels)))


@register_discriminator("resnet")
class ResNetDiscriminator(Discriminator):
    """Residual blocks, a sum over positions and a linear layer, with spectral norm on every layer.

    The module cannot be pickled, because it is parametrised; `state_dict` and `deepcopy` work.

    >>> ResNetDiscriminator((3, 32, 32), num_classes=10)(torch.rand(2, 3, 32, 32), torch.tensor([3, 7])).shape
    torch.Size([2])
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), width: int = 32, num_classes: int = 0):
        super().__init__(image_shape, width, num_classes)
        channels, *size = self.image_shape
        levels = widths(width, len(pyramid(*size)))
        self.blocks = nn.Sequential(
            spectral_norm(nn.Conv2d(channels, width, 3, padding=1)),
            *(_DownBlock(before, after) for before, after in pairwise(levels)),
        )
        self.head = ProjectionHead(levels[-1], num_classes)
        spectral_norm(self.head.linear)
        if self.head.of_class is not None:
            spectral_norm(self.head.of_class)

    def _discriminate(self, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.head(F.relu(self.blocks(images)).sum((2, 3)), labels)
