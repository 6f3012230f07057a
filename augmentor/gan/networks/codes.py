"""The networks of "latent-gan": a generator of latents with a decoder, and a critic of latents."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ...autoencoders.blocks import ConvDecoder, ConvEncoder
from ._base import register_generator
from ._conditioning import ProjectionHead
from ._decoding import DecodingGenerator


@register_generator("codes")
class CodeGenerator(DecodingGenerator):
    """Generator of standardised latents ``noise + f(noise, class)``, which the decoder turns into images.

    f is a multilayer perceptron, or convolutional for feature maps. Noise has the mean and standard deviation of
    standardised latents, so f learns only the rest of their distribution; without the sum, the noise has little effect
    at first, and all latents of a class become the same. width: number of channels at full size of a feature map; the
    layers of a perceptron are four times as wide. The decoder should not be trained. See `DecodingGenerator`.

    >>> CodeGenerator((1, 8, 8), autoencoder="vae(image_shape=(1, 8, 8))")(torch.randn(2, 16)).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        width: int = 64,
        num_classes: int = 0,
        autoencoder: str = "vae",
    ):
        super().__init__(image_shape, width, num_classes, autoencoder)
        self.of_class = nn.Embedding(num_classes, self.latent_dim) if num_classes else None
        inputs = self.latent_dim * (2 if num_classes else 1)
        self.net: nn.Module
        if len(self.latent_shape) == 1:
            self.net = _perceptron([inputs, *[4 * width] * 3, *self.latent_shape])
        else:
            channels, rows, columns = self.latent_shape
            self.net = ConvDecoder((channels, rows, columns), width, inputs)

    @classmethod
    def example(cls, num_classes: int = 0) -> CodeGenerator:
        return cls((1, 8, 8), 8, num_classes, "vae(image_shape=(1, 8, 8), latent_dim=6, width=8)")

    def _codes(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        inputs = noise if self.of_class is None else torch.cat([noise, self.of_class(labels)], dim=1)
        return noise.reshape(-1, *self.latent_shape) + self.net(inputs)


class CodeDiscriminator(nn.Module):
    """Critic of standardised latents: (B, *latent_shape) and class numbers => logits (B,).

    The layers are those of `CodeGenerator`.

    >>> CodeDiscriminator((16,))(torch.randn(2, 16)).shape
    torch.Size([2])
    """

    name = "codes"

    def __init__(self, latent_shape: tuple[int, ...], width: int = 64, num_classes: int = 0):
        super().__init__()
        self.latent_shape, self.width, self.num_classes = tuple(latent_shape), width, num_classes
        features = 4 * width
        if len(latent_shape) == 1:
            self.net: nn.Module = _perceptron([*latent_shape, *[features] * 3])
        else:
            channels, rows, columns = latent_shape
            self.net = ConvEncoder((channels, rows, columns), width, features)
        self.head = ProjectionHead(features, num_classes)

    def forward(self, codes: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(F.silu(self.net(codes)), labels)


def _perceptron(sizes: list[int]) -> nn.Sequential:
    """Linear layers with SiLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers[:-1])
