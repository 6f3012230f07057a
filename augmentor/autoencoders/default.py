"""What `augmentor train-autoencoder` starts from if nothing is named."""

from __future__ import annotations

from typing import Any

import torch

from .._internal.checks import to_uint8
from .._internal.datasets import equal_steps, fetch
from ..exceptions import DataError
from .families.vae import ConvVAE
from .pretrained import GENERAL

# Of this many images the share of the most frequent grey level is looked at. Its median is 0.02 to 0.1 for photographs,
# and 0.3 to 0.9 for digits and letters, which lie on a flat background.
_LOOKED_AT = 64
_FLAT = 0.2


def default_autoencoder(dataset: Any) -> str:
    """The name of the pretrained autoencoder to fine-tune on these images, or of the family to train from nothing.

    `natural` for RGB images and for grey photographs: from a few hundred images no network learns as much. "vae" for
    grey drawings on a flat background, such as digits, whose few numbers an image say more about what is in it, and for
    images of another number of channels. A vae takes 8 to 128 pixels a side: larger drawings get `natural`, and larger
    images of another number of channels "spatial_kl". dataset: map-style, of images or `(image, label)`; `DataError`
    for an empty one.

    >>> from augmentor.data import load_source
    >>> default_autoencoder(load_source("digits"))
    'vae'
    """
    if len(dataset) == 0:
        raise DataError("got an empty data set; expected at least one image")
    images, _ = fetch(dataset, equal_steps(len(dataset), _LOOKED_AT))
    channels, *size = images.shape[1:]
    least, most = ConvVAE.sides
    small = all(least <= side <= most for side in size)
    if channels == 3 or (channels == 1 and not (small and _background(images) > _FLAT)):
        return GENERAL
    return "vae" if small else "spatial_kl"


def _background(images: torch.Tensor) -> float:
    """Median over the images of the share of pixels with the most frequent grey level."""
    levels = to_uint8(images).flatten(1)
    frequent = levels.mode(1).values[:, None]
    return float((levels == frequent).double().mean(1).median())
