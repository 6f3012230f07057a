"""Convolutional building blocks that the network families share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

# Feature maps are halved until no side is longer than this; a linear layer follows.
_SMALLEST = 7


def norm(channels: int) -> nn.GroupNorm:
    """Return a group norm, whose output does not depend on the batch, nor on train or eval mode."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def no_norm(channels: int) -> nn.Identity:
    """Return an identity, so that outputs do not depend on distant pixels or on the image size."""
    return nn.Identity()


Norm = Callable[[int], nn.Module]


class Residual(nn.Module):
    """Residual block ``x + f(x)`` with two 3x3 convolutions; channels and size are unchanged."""

    def __init__(self, channels: int, norm: Norm = norm):
        super().__init__()
        self.body = nn.Sequential(
            norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1),
            norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Down(nn.Sequential):
    """Convolution to half the size, rounded up."""

    def __init__(self, channels_in: int, channels_out: int, norm: Norm = norm):
        super().__init__(nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1), norm(channels_out), nn.SiLU())


class EnlargingConv2d(nn.Conv2d):
    """Nearest-neighbour upsampling to twice the size, or to `size`, then a 3x3 convolution (no checkerboard artefacts).

    For twice the size both are computed as one transposed convolution of stride 2. Its 4x4 kernel sums the weights that
    apply to the same pixel. This needs less than half of the arithmetic, and the enlarged map is not stored.
    """

    def __init__(self, channels_in: int, channels_out: int, size: tuple[int, int] | None = None):
        super().__init__(channels_in, channels_out, 3, padding=1)
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.size not in (None, (2 * x.shape[-2], 2 * x.shape[-1])):
            return super().forward(F.interpolate(x, size=self.size, mode="nearest"))
        taps = F.pad(self.weight, (1, 1, 1, 1))
        taps = taps[..., 1:, :] + taps[..., :-1, :]
        taps = taps[..., 1:] + taps[..., :-1]
        return F.conv_transpose2d(x, taps.flip(2, 3).transpose(0, 1), self.bias, stride=2, padding=1)


class Up(nn.Module):
    """Upsampling to twice the size, or to `size`, with a convolution."""

    def __init__(self, channels_in: int, channels_out: int, size: tuple[int, int] | None = None, norm: Norm = norm):
        super().__init__()
        self.body = nn.Sequential(EnlargingConv2d(channels_in, channels_out, size), norm(channels_out), nn.SiLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def pyramid(height: int, width: int) -> list[tuple[int, int]]:
    """Return sizes from the image down to the smallest feature map, such as (28, 28), (14, 14), (7, 7)."""
    sizes = [(height, width)]
    while max(sizes[-1]) > _SMALLEST:
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    return sizes


def widths(width: int, steps: int) -> list[int]:
    """Return the channels at each level of a pyramid; they double at most twice."""
    return [width * min(2**level, 4) for level in range(steps)]


class ConvEncoder(nn.Sequential):
    """Network from images (B,C,H,W) to features (B, outputs)."""

    def __init__(self, image_shape: tuple[int, int, int], width: int, outputs: int):
        channels, height, size_w = image_shape
        sizes = pyramid(height, size_w)
        levels = widths(width, len(sizes))
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.SiLU()]
        for before, after in itertools.pairwise(levels):
            layers += [Down(before, after)]
        layers += [Residual(levels[-1]), nn.SiLU(), nn.Flatten()]
        layers += [nn.Linear(levels[-1] * math.prod(sizes[-1]), outputs)]
        super().__init__(*layers)


class ConvDecoder(nn.Sequential):
    """Network from vectors (B, inputs) to images (B,C,H,W) with unbounded values."""

    def __init__(self, image_shape: tuple[int, int, int], width: int, inputs: int):
        channels, height, size_w = image_shape
        sizes = pyramid(height, size_w)[::-1]
        levels = widths(width, len(sizes))[::-1]
        layers: list[nn.Module] = [
            nn.Linear(inputs, levels[0] * math.prod(sizes[0])),
            nn.Unflatten(1, (levels[0], *sizes[0])),
            Residual(levels[0]),
        ]
        for before, after, size in zip(levels, levels[1:], sizes[1:], strict=False):
            layers += [Up(before, after, size)]
        layers += [nn.Conv2d(levels[-1], channels, 3, padding=1)]
        super().__init__(*layers)
