"""Base class of autoencoders, which map images to raw latents and back.

A family builds an `encoder` and a `decoder`, overrides `_encode`, `_decode` or `training_losses` if the defaults do not
fit, and defines a tiny instance (`example`). It does not depend on policies, files or trainers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from .._internal.checks import check_images, to_unit_float
from .._internal.registry import Registry, build
from .._internal.weights import save_network
from ..exceptions import AugmentorWarning, InputError, ShapeError
from ..latents import LatentStats, Posterior
from .corruption import CORRUPTIONS, Corruption
from .likelihood import LIKELIHOODS, Likelihood
from .tiles import TILE, Maps, in_tiles

# Pixels. For a larger image, a network that cannot use tiles needs gigabytes of memory, and a warning is issued.
_LARGE = 4_000_000

if TYPE_CHECKING:
    from ..quality import Verdict

autoencoders: Registry[Autoencoder] = Registry("autoencoder")


class Autoencoder(nn.Module):
    """Base class of all autoencoders.

    image_shape: (C, H, W), with any number of channels; H and W are None for a family that accepts any size. An RGB
    network also accepts grey images: they are repeated to three channels, and the output is the mean of the channels.
    latent_shape: (D,) for a vector, (C, h, w) for a feature map, with None for sizes that depend on the image.
    likelihood: "bernoulli" (cross-entropy on logits; for nearly black-and-white images), "gaussian" (squared error) or
    "edges(weight=1.0)" (absolute error of pixels and of differences between neighbouring pixels; for sharper edges).
    corruption: "none", "gaussian(std=0.3)" or "masking(rate=0.25)"; any corruption makes it a denoising autoencoder
    (Vincent et al. 2008), which is trained to reconstruct the clean image from a corrupted one.

    >>> autoencoder = get_autoencoder("vae").example()
    >>> images = torch.rand(4, *autoencoder.image_shape)
    >>> posterior = autoencoder.encode(images)
    >>> autoencoder.decode(posterior.mean).shape == images.shape
    True
    """

    encoder: nn.Module
    decoder: nn.Module
    name: ClassVar[str]
    family: ClassVar[str] = autoencoders.kind
    sides: ClassVar[tuple[int, int]] = (8, 128)  # smallest and largest side in pixels of a fixed image size

    # Reconstruction quality on images that it was not trained on, if `AutoencoderTrainer` measured it, and for the
    # pretrained models. The network itself does not use it.
    verdict: Verdict | None = None

    # Images are padded by mirroring at the right and bottom until this divides both sides, and cropped after decoding.
    stride: int = 1

    # Radius of the receptive field in cells of the latent map (stride x stride pixels), valid for the encoder and for
    # the decoder. Images with a side above `TILE` are then processed in tiles. None if an output depends on the whole
    # image (group norm, attention, linear layers); such images are not processed in tiles.
    receptive_radius: int | None = None

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
        if not isinstance(channels, int) or channels < 1 or not fits:
            raise ShapeError(
                f"an autoencoder takes images (C, H, W), C at least 1, with sides of {least} to {most} pixels, "
                f"got {tuple(image_shape)}; resize them, with --size on the command line, or use 'spatial_kl'"
            )
        self.image_shape = tuple(image_shape)
        self.num_channels: int = channels
        self.latent_shape = tuple(latent_shape)
        self.likelihood = likelihood
        self.corruption = corruption
        self._corrupt: Corruption = build("corruption", CORRUPTIONS, corruption)
        self._likelihood: Likelihood = build("likelihood", LIKELIHOODS, likelihood)
        self.stats = LatentStats(self.latent_shape)

    @classmethod
    def example(cls) -> Autoencoder:
        """Return a tiny instance, for tests, benchmarks and documentation."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.stats.mean.device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights: float32, unless the module was converted."""
        return self.stats.mean.dtype

    def encode(self, images: torch.Tensor) -> Posterior:
        """Encode images (B,C,H,W), uint8 or floating in [0, 1], to raw latents. Raises `ShapeError` or `RangeError`."""
        check_images(images, self.image_shape, f"the {self.name} autoencoder")
        self._warn_of_memory(images)
        images = padded(images, self.stride)
        return Posterior(*self._in_tiles(self._moments, images, [n // self.stride for n in images.shape[-2:]]))

    def decode(self, latents: torch.Tensor, size: Sequence[int] | None = None) -> torch.Tensor:
        """Decode raw latents (B, *L) to float images (B,C,H,W) in [0, 1].

        size: (H, W) or (C, H, W) of the original images: padding is cropped, and C=1 gives the mean of RGB.

        Raises `ShapeError` for latents of another shape, and for a size that is larger than the decoded images.
        """
        self._check_latents(latents)
        (images,) = self._in_tiles(self._pixels, latents, latents.shape[-2:])
        if size is None:
            return images
        channels, height, width = (images.shape[1], *size)[-3:]
        if height > images.shape[-2] or width > images.shape[-1]:
            raise ShapeError(
                f"these latents decode to images of {tuple(images.shape[-2:])}, smaller than size={tuple(size)}; give "
                "the size of the images that were encoded"
            )
        if (height, width) != images.shape[-2:]:
            images = images[..., :height, :width]
        return images if channels == images.shape[1] else images.mean(1, keepdim=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Reconstruct images (B,C,H,W) as float images of the same shape."""
        return self.decode(self.encode(images).mean, images.shape[1:])

    def save(self, path: str | Path, info: dict[str, Any] | None = None) -> None:
        """Write weights, config and latent statistics to one `.safetensors` file, for `load_autoencoder`.

        The write is atomic. info: JSON values to store in the header.
        """
        save_network(self, path, info)

    def training_losses(
        self, images: torch.Tensor, generator: torch.Generator, progress: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Return named scalar losses in nats per pixel; the trainer minimises their sum.

        images: clean, float in [0, 1]. generator: on the device of the images; the only source of randomness.
        progress: fraction of the minimum number of steps that is done, 0 to 1.
        """
        mean, _ = self._encode(self._adapted(self._corrupt(images, generator)))
        return {"reconstruction": self._reconstruction_loss(self._decode(mean), images)}

    def _moments(self, images: torch.Tensor) -> Maps:
        """Return the mean of the posterior, and its standard deviation if there is one."""
        mean, log_variance = self._encode(self._adapted(to_unit_float(images).to(self.dtype)))
        return (mean,) if log_variance is None else (mean, (0.5 * log_variance).exp())

    def _pixels(self, latents: torch.Tensor) -> Maps:
        return (self._likelihood.pixels(self._decode(latents.to(self.dtype))),)

    def _in_tiles(self, network: Callable[[torch.Tensor], Maps], x: torch.Tensor, grid: Sequence[int]) -> Maps:
        """Return ``network(x)`` for x with `grid` cells, computed in tiles if the receptive field allows it."""
        margin = self.receptive_radius
        if margin is None:
            return network(x)
        # With a large stride the tile is enlarged; otherwise its margins would cover most of it.
        return in_tiles(network, x, grid, max(TILE // self.stride, 8 * margin), margin)

    def _warn_of_memory(self, images: torch.Tensor) -> None:
        height, width = images.shape[-2:]
        if self.receptive_radius is None and height * width > _LARGE:
            warnings.warn(
                f"the {self.name} autoencoder cannot process images in tiles, and one of {height}x{width} pixels may "
                "need gigabytes of memory; resize it with v2.Resize, or use 'natural' or a spatial_kl with "
                "norm='none', which process large images in tiles",
                AugmentorWarning,
                stacklevel=3,
            )

    def _adapted(self, images: torch.Tensor) -> torch.Tensor:
        """Pad float images, and repeat grey ones to the channels of the network."""
        return padded(images, self.stride).expand(-1, self.num_channels, -1, -1)

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode float images to the mean and log-variance (or None) of the raw latents."""
        return self.encoder(2 * images - 1), None

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode raw latents to logits ("bernoulli") or unclipped pixels (others)."""
        return self.decoder(latents)

    def _reconstruction_loss(self, output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        output = output[..., : images.shape[-2], : images.shape[-1]].float()
        return self._likelihood.loss(output, images.expand_as(output))

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
    """Pad images (B,C,H,W) by mirroring at the right and bottom, until the stride divides both sides."""
    for axis in (-2, -1):
        side = images.shape[axis]
        if side % stride:
            places = torch.arange(side + -side % stride, device=images.device) % max(1, 2 * side - 2)
            images = images.index_select(axis, torch.minimum(places, (2 * side - 2 - places).abs()))
    return images


def check_widths(family: str, **values: int) -> None:
    """Raise `InputError` unless widths of layers and latents are integers of at least 1."""
    for argument, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise InputError(f"autoencoder {family!r} takes an integer {argument} >= 1, got {value!r}")


def get_autoencoder(name: str) -> type[Autoencoder]:
    """Return the autoencoder class with this registered name."""
    return autoencoders.get(name)
