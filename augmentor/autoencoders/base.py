"""The contract of an autoencoder: pixels => raw latents => pixels.

A family builds an `encoder` and a `decoder`, overrides methods on tensors (`_encode`, `_decode`, `training_losses`)
where the defaults are not enough, and gives a tiny instance of itself (`example`). It knows nothing of policies, files
or trainers.
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

# Pixels. A network that has to see all of an image takes gigabytes for a larger one, and a warning says so.
_LARGE = 4_000_000

if TYPE_CHECKING:
    from ..quality import Verdict

autoencoders: Registry[Autoencoder] = Registry("autoencoder")


class Autoencoder(nn.Module):
    """Base of all autoencoders.

    image_shape: (C, H, W), of any number of channels; H and W are None for a family that takes any size. An RGB
    network takes grey images too: they are repeated in its three channels, and the mean of these comes back.
    latent_shape: (D,) for a vector, (C, h, w) for a feature map, with None where the image size decides.
    likelihood: "bernoulli" (cross-entropy on logits; grey images near black and white), "gaussian" (squared error) or
    "edges(weight=1.0)" (absolute error of pixels and of the steps between neighbours; sharper edges).
    corruption: "none", "gaussian(std=0.3)" or "masking(rate=0.25)"; anything but "none" makes it a denoising
    autoencoder (Vincent et al. 2008): it reconstructs the clean image from a corrupted one.

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
    sides: ClassVar[tuple[int, int]] = (8, 128)  # of images, in pixels, for a family of one size

    # How well it reconstructs images that it was not trained on, where `AutoencoderTrainer` measured that, and for the
    # pretrained ones. The network itself does not look at it.
    verdict: Verdict | None = None

    # What the sides of an image have to be a multiple of; others are mirrored at the right and below, and cropped back.
    stride: int = 1

    # How far a result depends on its neighbourhood, along each axis, in places of the latent feature map (of stride x
    # stride pixels each): a latent on pixels, and a pixel on latents. Images with a side above `TILE` then go through
    # the network in tiles. None if a result depends on the whole image (group norm, attention, linear layers): the
    # network gets it whole.
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
                f"an autoencoder takes images (C, H, W), C at least 1, of {least} to {most} pixels a side, "
                f"got {tuple(image_shape)}; resize them, with --size on the command line, or take 'spatial_kl'"
            )
        self.image_shape = tuple(image_shape)
        self.depth: int = channels
        self.latent_shape = tuple(latent_shape)
        self.likelihood = likelihood
        self.corruption = corruption
        self._corrupt: Corruption = build("corruption", CORRUPTIONS, corruption)
        self._likelihood: Likelihood = build("likelihood", LIKELIHOODS, likelihood)
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
        self._warn_of_memory(images)
        images = padded(images, self.stride)
        return Posterior(*self._in_tiles(self._moments, images, [n // self.stride for n in images.shape[-2:]]))

    def decode(self, latents: torch.Tensor, size: Sequence[int] | None = None) -> torch.Tensor:
        """Raw latents (B, *L) => float images (B,C,H,W) in [0, 1].

        size: (H, W) or (C, H, W) of the images they come from: what was padded is cropped, and C=1 is the mean of RGB.
        """
        self._check_latents(latents)
        (images,) = self._in_tiles(self._pixels, latents, latents.shape[-2:])
        if size is None:
            return images
        channels, height, width = (images.shape[1], *size)[-3:]
        if height > images.shape[-2] or width > images.shape[-1]:
            raise ShapeError(f"these latents decode to {tuple(images.shape[-2:])}, smaller than size={tuple(size)}")
        if (height, width) != images.shape[-2:]:
            images = images[..., :height, :width]
        return images if channels == images.shape[1] else images.mean(1, keepdim=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Reconstruct: images (B,C,H,W) => float images of the same shape."""
        return self.decode(self.encode(images).mean, images.shape[1:])

    def save(self, path: str | Path, info: dict[str, Any] | None = None) -> None:
        """Write weights, config and latent statistics to one `.safetensors` file, for `load_autoencoder`.

        Whole or not at all. info: JSON values to keep in its header, for people.
        """
        save_network(self, path, info)

    def training_losses(
        self, images: torch.Tensor, generator: torch.Generator, progress: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Named scalar losses of a clean float batch in [0, 1], in nats a pixel; the trainer minimises their sum.

        generator: on the device of the images; the only source of randomness. progress: 0 to 1, how far training is.
        """
        mean, _ = self._encode(self._adapted(self._corrupt(images, generator)))
        return {"reconstruction": self._reconstruction_loss(self._decode(mean), images)}

    def _moments(self, images: torch.Tensor) -> Maps:
        """The posterior's mean, and its standard deviation if there is one."""
        mean, log_variance = self._encode(self._adapted(to_unit_float(images).to(self.dtype)))
        return (mean,) if log_variance is None else (mean, (0.5 * log_variance).exp())

    def _pixels(self, latents: torch.Tensor) -> Maps:
        return (self._likelihood.pixels(self._decode(latents.to(self.dtype))),)

    def _in_tiles(self, network: Callable[[torch.Tensor], Maps], x: torch.Tensor, grid: Sequence[int]) -> Maps:
        """``network(x)`` for x with this many cells, in tiles where the receptive field allows them."""
        margin = self.receptive_radius
        if margin is None:
            return network(x)
        # With a large stride the tile is larger too; else it would be little more than its margins.
        return in_tiles(network, x, grid, max(TILE // self.stride, 8 * margin), margin)

    def _warn_of_memory(self, images: torch.Tensor) -> None:
        height, width = images.shape[-2:]
        if self.receptive_radius is None and height * width > _LARGE:
            warnings.warn(
                f"the {self.name} autoencoder cannot process an image in parts, and one of {height}x{width} pixels may "
                "take gigabytes of memory; make it smaller with v2.Resize, or use 'natural' or a spatial_kl with "
                "norm='none', which process large images in parts",
                AugmentorWarning,
                stacklevel=3,
            )

    def _adapted(self, images: torch.Tensor) -> torch.Tensor:
        """Float images of any depth and size that the family takes => as many channels and pixels as the network's."""
        return padded(images, self.stride).expand(-1, self.depth, -1, -1)

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Float images => mean and log-variance (or None) of the raw latents."""
        return self.encoder(2 * images - 1), None

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Raw latents => logits ("bernoulli") or pixels (others), not yet in range."""
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
    """Images (B,C,H,W) with their mirror image at the right and below, until the stride divides both sides."""
    for axis in (-2, -1):
        side = images.shape[axis]
        if side % stride:
            places = torch.arange(side + -side % stride, device=images.device) % max(1, 2 * side - 2)
            images = images.index_select(axis, torch.minimum(places, (2 * side - 2 - places).abs()))
    return images


def check_widths(family: str, **values: int) -> None:
    """Widths of layers and latents are whole numbers of at least 1."""
    for argument, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise InputError(f"autoencoder {family!r} takes a whole number {argument} >= 1, got {value!r}")


def get_autoencoder(name: str) -> type[Autoencoder]:
    """The autoencoder class of this registered name."""
    return autoencoders.get(name)
