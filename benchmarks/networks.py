"""Networks of the classification benchmark besides `small_cnn`, as functions of the numbers of channels and classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from augmentor.quality import load_features

# Side to which images are enlarged for EfficientNet-Lite0; its features of 64x64 images are poor.
SIDE = 128


def resnet18(channels: int, num_classes: int) -> nn.Module:
    """Return a ResNet-18 (He et al. 2016) for small images: a first layer of 3x3, without stride and pooling."""
    model = models.resnet18(num_classes=num_classes)
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def efficientnet(channels: int, num_classes: int) -> nn.Module:
    """Return EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet, to fine-tune all weights."""
    return Pretrained(num_classes)


def efficientnet_linear(channels: int, num_classes: int) -> nn.Module:
    """Return a linear layer on the frozen features of EfficientNet-Lite0."""
    return Pretrained(num_classes, frozen=True)


class Pretrained(nn.Module):
    """Network from RGB images (B,3,H,W) in [0, 1] to logits: a linear layer on the means of the last block."""

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
        self.body.train(mode and not self.frozen)  # a frozen body keeps the batch statistics of ImageNet
        return self
