"""Layers that depend on the class: the generator's normalisation, the discriminator's last layer."""

from __future__ import annotations

import torch
from torch import nn

from ...autoencoders.blocks import norm


class ConditionalNorm(nn.Module):
    """Group norm whose scale and shift depend on the class (de Vries et al. 2017); plain group norm without classes."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm = norm(channels)
        self.of_class = nn.Embedding(num_classes, 2 * channels) if num_classes else None
        if self.of_class is not None:
            # Not 0, so that classes differ from the start.
            nn.init.normal_(self.of_class.weight, std=0.1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        x = self.norm(x)
        if self.of_class is None:
            return x
        scale, shift = self.of_class(labels)[:, :, None, None].chunk(2, dim=1)
        return x * (1 + scale) + shift


class ProjectionHead(nn.Module):
    """Features (B, F) => logits (B,): ``w . f + v[class] . f`` (Miyato and Koyama 2018, eq. 3)."""

    def __init__(self, features: int, num_classes: int):
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.of_class = nn.Embedding(num_classes, features) if num_classes else None
        if self.of_class is not None:
            # The same scale as the linear layer.
            nn.init.normal_(self.of_class.weight, std=features**-0.5)

    def forward(self, features: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        logits = self.linear(features).squeeze(1)
        if self.of_class is None:
            return logits
        return logits + (self.of_class(labels) * features).sum(1)
