"""The decoder of an autoencoder as a generator: it decodes codes drawn around those of real images."""

from __future__ import annotations

import torch

from ...exceptions import InputError
from ...policies.class_gaussian import MAX_DIMENSIONS
from ._base import register_generator
from ._decoding import DecodingGenerator


@register_generator("decoder")
class DecoderGenerator(DecodingGenerator):
    """Generator that decodes codes drawn from a kernel density estimate of the codes of each class.

        code = mean[class] + sqrt(1 - h^2) * (z - mean[class]) + h * factor[class] @ noise

    z is the code of a real image of the class, chosen at random, and h the bandwidth. Such codes have the mean and the
    covariance of the real ones for any h (smoothed bootstrap, Silverman and Young 1987). With bandwidth 1 codes come
    from one normal distribution per class, as in BAGAN (Mariani et al. 2018), and no z is stored.

    Codes are standardised latents. The buffers are the means (K, D) and the Cholesky factors of the covariances (K, D,
    D) of the classes, with K = 1 without classes; the codes z (num_codes, D), sorted by class; and their numbers per
    class (K,). Before `set_codes` the distribution is standard normal.

    The noise has D values; if bandwidth < 1, an additional first value selects z. Other arguments: see
    `DecodingGenerator`. Raises `InputError` for a bandwidth that is not above 0 and at most 1, and for latents of more
    than 2,048 values.

    >>> generator = DecoderGenerator((1, 8, 8), num_classes=2, autoencoder="vae(image_shape=(1, 8, 8), latent_dim=6)")
    >>> generator(torch.randn(2, 6), torch.tensor([0, 1])).shape
    torch.Size([2, 1, 8, 8])
    """

    means: torch.Tensor
    factors: torch.Tensor
    real: torch.Tensor
    counts: torch.Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        num_classes: int = 0,
        autoencoder: str = "vae",
        whole: bool = False,
        bandwidth: float = 1.0,
        num_codes: int = 0,
    ):
        if not 0 < bandwidth <= 1:
            raise InputError(f"bandwidth must be above 0 and at most 1, got {bandwidth}")
        super().__init__(image_shape, 1, num_classes, autoencoder, whole=whole)
        classes, size = max(1, num_classes), self.latent_dim
        if size > MAX_DIMENSIONS:  # checked first, because the factors need K * D * D numbers
            raise InputError(
                f"autoencoder {self.model.name!r} has latents {self.latent_shape} for images {self.image_shape}; this "
                f"generator takes latents of at most {MAX_DIMENSIONS} values: use an autoencoder with smaller latents, "
                "such as 'vae(latent_dim=64)', or smaller images"
            )
        self.bandwidth, self.num_codes = bandwidth, num_codes
        if bandwidth < 1:
            self.latent_dim += 1  # chooses a real code
        self.register_buffer("means", torch.zeros(classes, size))
        self.register_buffer("factors", torch.eye(size).repeat(classes, 1, 1))
        self.register_buffer("real", torch.zeros(num_codes, size))
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.long))

    @classmethod
    def example(cls, num_classes: int = 0) -> DecoderGenerator:
        return cls((1, 8, 8), num_classes, "vae(image_shape=(1, 8, 8), latent_dim=6, width=8)")

    def set_codes(self, means: torch.Tensor, factors: torch.Tensor, real: torch.Tensor, labels: torch.Tensor) -> None:
        """Set the distribution: means (K, D), factors (K, D, D), and codes (N, D) of real images with classes (N,)."""
        self.means.copy_(means)
        self.factors.copy_(factors)
        if self.bandwidth < 1:
            self.num_codes, self.real = len(real), real[labels.argsort(stable=True)].to(self.means)
            self.counts.copy_(labels.bincount(minlength=len(self.counts)))

    def _codes(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        rows = torch.arange(len(noise), device=noise.device)
        labels = torch.zeros_like(rows) if labels is None else labels
        mean, own = self.means[labels], noise[:, -self.means.shape[1] :]
        # All factors times all noise, then a selection: this makes no copies of the factors.
        spread = torch.einsum("kde,be->kbd", self.factors, own)[labels, rows]
        if self.num_codes:
            h = self.bandwidth
            spread = (1 - h**2) ** 0.5 * (self._chosen(noise[:, 0], labels) - mean) + h * spread
        return (mean + spread).reshape(-1, *self.latent_shape)

    def _chosen(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return codes (B, D) of real images, uniform within the classes (B,), chosen by normal noise (B,)."""
        counts, starts = self.counts[labels], (self.counts.cumsum(0) - self.counts)[labels]
        place = (torch.special.ndtr(noise) * counts).long()
        return self.real[starts + place.minimum(counts - 1)]
