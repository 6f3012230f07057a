"""Default starting point of `augmentor train-autoencoder`."""

from __future__ import annotations

from typing import Any

import torch

from .._internal.checks import to_uint8
from .._internal.datasets import some_images
from ..exceptions import DataError
from .families.vae import ConvVAE
from .pretrained import GENERAL

# Limit of the fraction of the most frequent grey level of an image. Its median is 0.02 to 0.1 for photographs, and 0.3
# to 0.9 for digits and letters on a flat background.
_FLAT = 0.2


def default_autoencoder(dataset: Any) -> str:
    """Return the pretrained autoencoder to fine-tune on these images, or the family to train from random weights.

    The result is "natural" for RGB images and for grey photographs, because a few hundred images are too few to train a
    network of this quality. It is "vae" for grey drawings on a flat background, such as digits, because its small
    latent describes their content better, and for images with another number of channels. A vae takes images with sides
    of 8 to 128 pixels. For other sizes, the result is "natural" for drawings, and "spatial_kl" for images with another
    number of channels.

    dataset: map-style data set of images or `(image, label)`. Raises `DataError` if it is empty.

    >>> from augmentor.data import load_source
    >>> default_autoencoder(load_source("digits"))
    'vae'
    """
    if len(dataset) == 0:
        raise DataError("got an empty data set; expected at least one image")
    images = some_images(dataset)
    channels, *size = images.shape[1:]
    least, most = ConvVAE.sides
    small = all(least <= side <= most for side in size)
    if channels == 3 or (channels == 1 and not (small and _background(images) > _FLAT)):
        return GENERAL
    return "vae" if small else "spatial_kl"


def _background(images: torch.Tensor) -> float:
    """Return the median over the images of the fraction of pixels with the most frequent grey level."""
    levels = to_uint8(images).flatten(1)
    frequent = levels.mode(1).values[:, None]
    return float((levels == frequent).double().mean(1).median())
