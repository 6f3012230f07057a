"""The convolutional encoder and decoder that the families with a vector latent share."""

from __future__ import annotations

import itertools
import math

from torch import nn

from .._blocks import Down, Residual, Up, pyramid, widths


class ConvEncoder(nn.Sequential):
    """Images (B,C,H,W) => features (B, outputs)."""

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
    """Vectors (B, inputs) => images (B,C,H,W), unbounded."""

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
