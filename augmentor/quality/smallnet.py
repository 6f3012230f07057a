"""The feature extractor that comes with the package: a small classifier of images and of their corruptions."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .._internal.checks import to_unit_float
from .._internal.pretrained import pretrained_card, pretrained_folder, pretrained_weights
from .._internal.weights import OF_AUTOENCODER, load_network
from .features import Features, resized, rgb

# Images are enlarged if their shorter side is below the first, and shrunk if it is above the second.
SMALLEST, LARGEST = 32, 128


class SmallNet(nn.Module):
    """A residual network (He et al. 2016) of three stages, each of which halves the side, for RGB images of any size.

    Its features are the means over the image of the first stage (sharpness, noise and texture) and of the last stage
    (content). channels: number of channels of each stage.

    >>> SmallNet()(torch.rand(2, 3, 40, 56)).shape
    torch.Size([2, 120])
    """

    family, name = "extractor", "smallnet"
    scale: torch.Tensor

    def __init__(self, channels: Sequence[int] = (24, 64, 96)):
        super().__init__()
        self.channels = first, middle, last = tuple(channels)
        self.first = nn.Sequential(
            nn.Conv2d(3, first, 5, 2, 2, bias=False), nn.BatchNorm2d(first), nn.ReLU(), _Residual(first, first, 1)
        )
        self.last = nn.Sequential(_Residual(first, middle, 2), _Residual(middle, last, 2), _Residual(last, last, 1))
        self.register_buffer("scale", torch.ones(first + last))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, F) of RGB images (B,3,H,W) in [0, 1]."""
        first = self.first(4 * images - 2)
        return torch.cat([first.mean((2, 3)), self.last(first).mean((2, 3))], 1) * self.scale


class _Residual(nn.Module):
    def __init__(self, into: int, out: int, stride: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        same = into == out and stride == 1
        self.side = nn.Identity() if same else nn.Conv2d(into, out, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.main(x) + self.side(x))


class SmallNetFeatures(Features):
    """120 features of a small network that comes with the package, for grey and RGB images of any size.

    The network was trained on free images (digits, CIFAR-10, clothes, photographs) to predict their classes and
    whether, and how much, they were blurred, made noisy or compressed (``pretrained/smallnet/card.md``). Its features
    therefore represent content and quality. Images with a shorter side of less than 32 pixels are enlarged, and those
    of more than 128 shrunk. The Frechet distance of these features is not FID, which uses Inception's features.
    Raises `WeightsError` for weights that are missing or do not match their checksum, `ShapeError` for images of other
    than 1 or 3 channels.

    >>> SmallNetFeatures()(torch.rand(4, 1, 8, 8)).shape
    torch.Size([4, 120])
    """

    name = "smallnet"

    def __init__(self) -> None:
        super().__init__()
        self.network = copy.deepcopy(_loaded())

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        images = to_unit_float(rgb(images, type(self).__name__))
        return self.network(fitted(images))


def fitted(images: torch.Tensor) -> torch.Tensor:
    """Resize images (B,C,H,W) so that the shorter side has from `SMALLEST` to `LARGEST` pixels."""
    return resized(images, min(max(min(images.shape[-2:]), SMALLEST), LARGEST))


@functools.cache
def _loaded() -> SmallNet:
    """Return the network, which is read once per process. It is shared, so callers must copy it."""
    folder = pretrained_folder() / SmallNet.name
    path = pretrained_weights(folder, OF_AUTOENCODER, pretrained_card(folder)["sha256"])
    return load_network(path, SmallNet.family, {SmallNet.name: SmallNet}).float().requires_grad_(False)
