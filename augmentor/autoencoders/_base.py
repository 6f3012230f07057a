"""The contract of an autoencoder: pixels => raw latents => pixels.

A family implements three methods on tensors (`_encode`, `_decode`, and `training_losses` where the default is not
enough) and states a tiny instance of itself (`example`). It knows nothing of policies, files or trainers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .._checks import check_images, to_unit_float
from .._registry import Registry
from .._weights import save_network
from ..exceptions import InputError, ShapeError
from ..latents import LatentStats
from ._corruption import Corruption, corruptions

autoencoders: Registry[Autoencoder] = Registry("autoencoder")

# Deviation of a pixel around its reconstruction under the Gaussian likelihood: about 25 levels of 255.
GAUSSIAN_STD = 0.1


class Posterior(NamedTuple):
    """What the encoder says of each image: raw latents (B, *L), and their deviation (B, *L) or None."""

    mean: torch.Tensor
    std: torch.Tensor | None = None


class Autoencoder(nn.Module):
    """Base of all autoencoders.

    image_shape: (C, H, W); H and W are None for a family that takes any size.
    latent_shape: (D,) for a vector, (C, h, w) for a feature map, with None where the image size decides.
    likelihood: "bernoulli" (cross-entropy on logits; grey images near black and white) or "gaussian" (squared error).
    corruption: "none", "gaussian(std=0.3)" or "masking(rate=0.25)"; anything but "none" makes it a denoising
    autoencoder (Vincent et al. 2008): it reconstructs the clean image from a corrupted one.

    >>> autoencoder = get_autoencoder("vae").example()
    >>> images = torch.rand(4, *autoencoder.image_shape)
    >>> posterior = autoencoder.encode(images)
    >>> autoencoder.decode(posterior.mean).shape == images.shape
    True
    """

    name: ClassVar[str]
    family: ClassVar[str] = autoencoders.kind
    sides: ClassVar[tuple[int, int]] = (8, 128)  # of images, in pixels, for a family of one size

    def __init__(
        self,
        image_shape: tuple[int, int | None, int | None],
        latent_shape: tuple[int | None, ...],
        likelihood: str,
        corruption: str,
    ):
        super().__init__()
        channels, *size = image_shape
        least, most = self.sides
        fits = len(size) == 2 and all(n is None or (isinstance(n, int) and least <= n <= most) for n in size)
        if channels not in (1, 3) or not fits:
            raise ShapeError(
                f"an autoencoder takes grey or RGB images (1 or 3, H, W) of {least} to {most} pixels a side, "
                f"got {tuple(image_shape)}"
            )
        if likelihood not in ("bernoulli", "gaussian"):
            raise InputError(f"likelihood is 'bernoulli' or 'gaussian', got {likelihood!r}")
        self.image_shape = tuple(image_shape)
        self.latent_shape = tuple(latent_shape)
        self.likelihood = likelihood
        self.corruption = corruption
        self._corrupt: Corruption = corruptions.build(corruption)
        self.stats = LatentStats(self.latent_shape)

    @classmethod
    def example(cls) -> Autoencoder:
        """A tiny instance, for tests, benchmarks and documentation."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.stats.mean.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are: float32, unless the module was converted."""
        return self.stats.mean.dtype

    def encode(self, images: torch.Tensor) -> Posterior:
        """Images (B,C,H,W), uint8 or floating in [0, 1] => raw latents. Raises `ShapeError` or `RangeError`."""
        check_images(images, self.image_shape, f"the {self.name} autoencoder")
        mean, log_variance = self._encode(to_unit_float(images).to(self.dtype))
        return Posterior(mean, None if log_variance is None else (0.5 * log_variance).exp())

    def decode(self, latents: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
        """Raw latents (B, *L) => float images (B,C,H,W) in [0, 1].

        size: height and width to crop to, for families that pad; others check it against their own.
        """
        self._check_latents(latents)
        output = self._decode(latents.to(self.dtype))
        if size is not None:
            if size[0] > output.shape[-2] or size[1] > output.shape[-1]:
                raise ShapeError(f"these latents decode to {tuple(output.shape[-2:])}, smaller than size={size}")
            output = output[..., : size[0], : size[1]]
        return output.sigmoid() if self.likelihood == "bernoulli" else output.clamp(0, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Reconstruct: images (B,C,H,W) => float images of the same shape."""
        return self.decode(self.encode(images).mean, (images.shape[-2], images.shape[-1]))

    def save(self, path: str | Path, info: dict[str, Any] | None = None) -> None:
        """Write weights, config and latent statistics to one `.safetensors` file, for `load_autoencoder`.

        Whole or not at all. info: JSON values to keep in its header, for people.
        """
        save_network(self, path, info)

    def training_losses(
        self, images: torch.Tensor, generator: torch.Generator, progress: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Named scalar losses of a clean float batch in [0, 1], in nats a pixel; the trainer minimises their sum.

        generator: on the device of the images; the only source of chance. progress: 0 to 1, how far training is.
        """
        mean, _ = self._encode(self._corrupt(images, generator))
        return {"reconstruction": self._reconstruction_loss(self._decode(mean), images)}

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Float images => mean and log-variance (or None) of the raw latents."""
        raise NotImplementedError

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Raw latents => logits ("bernoulli") or pixels ("gaussian"), not yet in range."""
        raise NotImplementedError

    def _reconstruction_loss(self, output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        output = output[..., : images.shape[-2], : images.shape[-1]]
        if self.likelihood == "bernoulli":
            return F.binary_cross_entropy_with_logits(output, images)
        return F.mse_loss(output, images) / (2 * GAUSSIAN_STD**2)

    def _variational_losses(
        self, images: torch.Tensor, generator: torch.Generator, beta: float
    ) -> dict[str, torch.Tensor]:
        """The negative evidence bound (Kingma and Welling 2014, eq. 10), its KL term weighted by `beta`."""
        mean, log_variance = self._encode(self._corrupt(images, generator))
        assert log_variance is not None
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        output = self._decode(mean + (0.5 * log_variance).exp() * noise)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1).mean()
        return {
            "reconstruction": self._reconstruction_loss(output, images),
            "kl": beta * kl / images[0].numel(),
        }

    def _check_latents(self, latents: torch.Tensor) -> None:
        expected = self.latent_shape
        fits = latents.ndim == len(expected) + 1 and all(
            want is None or want == got for want, got in zip(expected, latents.shape[1:], strict=True)
        )
        if not fits:
            raise ShapeError(
                f"the {self.name} autoencoder decodes raw latents (B, "
                f"{', '.join('any' if n is None else str(n) for n in expected)}), got {tuple(latents.shape)}"
            )


def padded(images: torch.Tensor, stride: int) -> torch.Tensor:
    """Images (B,C,H,W) with the last row and column repeated until the stride divides both sides."""
    height, width = images.shape[-2:]
    padding = (0, -width % stride, 0, -height % stride)
    return F.pad(images, padding, mode="replicate") if any(padding) else images


def check_widths(family: str, **values: int) -> None:
    """Widths of layers and latents are whole numbers of at least 1."""
    for argument, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise InputError(f"autoencoder {family!r} takes a whole number {argument} >= 1, got {value!r}")


def warm_up(progress: float, share: float) -> float:
    """A weight that rises from 0 to 1 over the first `share` of training."""
    return min(1.0, progress / share) if share > 0 else 1.0


def gaussian_parameters(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (B, 2C, ...) => mean and log-variance (B, C, ...), the latter kept where its exponential is finite."""
    mean, log_variance = features.chunk(2, dim=1)
    return mean, log_variance.clamp(-16, 8)


def get_autoencoder(name: str) -> type[Autoencoder]:
    """The autoencoder class of this registered name."""
    return autoencoders.get(name)
