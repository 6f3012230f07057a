"""A latent flow and a decoder as a generator: the flow maps noise to a latent, which is decoded."""

from __future__ import annotations

import torch

from ...denoisers.flows import latent_flow
from ._base import register_generator
from ._decoding import DecodingGenerator


@register_generator("flow")
class FlowGenerator(DecodingGenerator):
    """Generator ``decode(flow.integrate(noise, class))``. The decoder should not be trained. See `DecodingGenerator`.

    width: width of the `LatentFlow`; None is its default. steps: number of integration steps.

    >>> FlowGenerator((1, 8, 8), autoencoder="vae(image_shape=(1, 8, 8))")(torch.randn(2, 16)).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        num_classes: int = 0,
        autoencoder: str = "vae",
        width: int | None = None,
        steps: int = 50,
    ):
        super().__init__(image_shape, 1, num_classes, autoencoder)
        self.flow = latent_flow(self.latent_shape, num_classes, width)
        self.width, self.steps = self.flow.width, steps

    @classmethod
    def example(cls, num_classes: int = 0) -> FlowGenerator:
        return cls((1, 8, 8), num_classes, "vae(image_shape=(1, 8, 8), latent_dim=6, width=8)", width=16, steps=4)

    def _codes(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.flow.integrate(noise.reshape(-1, *self.latent_shape), labels, steps=self.steps)
