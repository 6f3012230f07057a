"""The networks of the classification benchmark beside `small_cnn`: numbers of channels and of classes => a module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from augmentor.quality import load_features

# To which EfficientNet-Lite0 has its images enlarged: at their own 64 pixels it sees little.
SIDE = 128


def resnet18(channels: int, num_classes: int) -> nn.Module:
    """He et al. 2016, with the first layer that small images need: 3x3, no stride, no pooling."""
    model = models.resnet18(num_classes=num_classes)
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def efficientnet(channels: int, num_classes: int) -> nn.Module:
    """EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet, all of whose weights are trained further."""
    return Pretrained(num_classes)


def efficientnet_linear(channels: int, num_classes: int) -> nn.Module:
    """A linear layer on the frozen features of EfficientNet-Lite0."""
    return Pretrained(num_classes, frozen=True)


class Pretrained(nn.Module):
    """RGB images (B,3,H,W) in [0, 1] => logits; a linear layer on the means of the last of its blocks."""

    def __init__(self, num_classes: int, frozen: bool = False):
        super().__init__()
        self.body = load_features("efficientnet-lite0").network.requires_grad_(not frozen)
        self.head = nn.Linear(320, num_classes)
        self.frozen = frozen

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        enlarged = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        return self.head(self.body(2 * enlarged - 1).mean((2, 3)))

    def train(self, mode: bool = True) -> Pretrained:
        super().train(mode)
        self.body.train(mode and not self.frozen)  # the statistics of a frozen body stay those of ImageNet
        return self
