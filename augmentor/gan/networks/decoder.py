"""An autoencoder's decoder as a generator: the codes come from one normal distribution a class."""

from __future__ import annotations

import torch

from ._base import register_generator
from ._decoding import DecodingGenerator


@register_generator("decoder")
class DecoderGenerator(DecodingGenerator):
    """``decode(mean[class] + factor[class] @ noise)``, as in BAGAN (Mariani et al. 2018).

    The normal distributions, of standard latents, are buffers: means (K, D) and Cholesky factors of the covariances
    (K, D, D), one for all without classes; standard normal until they are set. See `DecodingGenerator`.

    >>> generator = DecoderGenerator((1, 8, 8), num_classes=2, autoencoder="vae(image_shape=(1, 8, 8), latent_dim=6)")
    >>> generator(torch.randn(2, 6), torch.tensor([0, 1])).shape
    torch.Size([2, 1, 8, 8])
    """

    means: torch.Tensor
    factors: torch.Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        num_classes: int = 0,
        autoencoder: str = "vae",
        whole: bool = False,
    ):
        super().__init__(image_shape, 1, num_classes, autoencoder, whole=whole)
        classes, size = max(1, num_classes), self.latent_dim
        self.register_buffer("means", torch.zeros(classes, size))
        self.register_buffer("factors", torch.eye(size).repeat(classes, 1, 1))

    @classmethod
    def example(cls, num_classes: int = 0) -> DecoderGenerator:
        return cls((1, 8, 8), num_classes, "vae(image_shape=(1, 8, 8), latent_dim=6, width=8)")

    def _codes(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        rows = torch.arange(len(noise), device=noise.device)
        labels = torch.zeros_like(rows) if labels is None else labels
        # Every class's factor on all the noise, then each sample's own: no copies of the factors.
        spread = torch.einsum("kde,be->kbd", self.factors, noise)[labels, rows]
        return (self.means[labels] + spread).reshape(-1, *self.latent_shape)
