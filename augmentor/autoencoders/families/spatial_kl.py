"""Fully convolutional variational autoencoder: the latent is a feature map, and images have any size."""

from __future__ import annotations

import itertools

from torch import nn

from ...exceptions import InputError
from ..base import autoencoders, check_widths
from ..blocks import Down, Norm, Residual, Up, no_norm, widths
from ..blocks import norm as group_norm
from ._variational import VariationalAutoencoder

_NORMS: dict[str, Norm] = {"group": group_norm, "none": no_norm}


@autoencoders.register("spatial_kl")
class SpatialKLAutoencoder(VariationalAutoencoder):
    """The first stage of latent diffusion (Rombach et al. 2022) without its adversarial term.

    The latent is (latent_channels, H / stride, W / stride) with stride ``2 ** downsamples``. A size that the stride
    does not divide is padded by mirroring, and the reconstruction is cropped back (`decode(..., size=)`).
    Group norm depends on the whole image, so such a network suits images of the size that it was trained on. With
    ``norm="none"`` a network trained on small crops works equally well on whole photographs. It has only convolutions,
    so images with a side above 512 pixels (1024 with 5 downsamples) are processed in overlapping tiles: the result is
    that of the whole image, and the memory for feature maps does not grow with the image.
    The KL weight `beta` is small: it centres the latents, but does not make them suitable for sampling from the prior.

    channels: number of channels of the images. latent_channels: number of channels of the latent, at least 1.
    width: number of channels at full size, at least 1.
    downsamples: number of halvings of the size, 1 to 5.
    beta: weight of the KL term, at least 0. kl_warmup: as in `ConvVAE`. likelihood, corruption: as in `Autoencoder`.
    norm: "group" (group norm) or "none".

    Raises `InputError` for values out of range, and `ShapeError` for `channels` below 1.

    >>> import torch
    >>> autoencoder = SpatialKLAutoencoder(channels=3, width=8)
    >>> autoencoder(torch.rand(1, 3, 37, 50)).shape
    torch.Size([1, 3, 37, 50])
    """

    def __init__(
        self,
        channels: int = 3,
        latent_channels: int = 4,
        width: int = 32,
        downsamples: int = 2,
        beta: float = 0.02,
        kl_warmup: float = 0.2,
        likelihood: str = "gaussian",
        corruption: str = "none",
        norm: str = "group",
    ):
        if not 1 <= downsamples <= 5:
            raise InputError(f"spatial_kl takes 1 to 5 downsamples, got {downsamples}")
        if norm not in _NORMS:
            raise InputError(f"spatial_kl takes norm {' or '.join(map(repr, _NORMS))}, got {norm!r}")
        check_widths(self.name, latent_channels=latent_channels, width=width, downsamples=downsamples)
        shapes = (channels, None, None), (latent_channels, None, None)
        super().__init__(*shapes, likelihood, corruption, beta, kl_warmup)
        self.channels, self.latent_channels, self.width = channels, latent_channels, width
        self.downsamples, self.stride, self.norm = downsamples, 2**downsamples, norm
        # Encoder: 3. Decoder: 3 from its 3x3 convolutions on the latent map, and 1 from all those on finer maps.
        self.receptive_radius = 4 if norm == "none" else None
        make_norm = _NORMS[norm]
        levels = widths(width, downsamples + 1)
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.SiLU(),
            *(Down(before, after, norm=make_norm) for before, after in itertools.pairwise(levels)),
            Residual(levels[-1], norm=make_norm),
            make_norm(levels[-1]),
            nn.SiLU(),
            nn.Conv2d(levels[-1], 2 * latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, levels[-1], 3, padding=1),
            Residual(levels[-1], norm=make_norm),
            *(Up(before, after, norm=make_norm) for before, after in zip(levels[::-1], levels[-2::-1], strict=False)),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    @classmethod
    def example(cls) -> SpatialKLAutoencoder:
        return cls(channels=1, latent_channels=2, width=8)
