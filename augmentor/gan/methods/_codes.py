"""Codes of the real images, and what the training methods that build on an autoencoder fit to them."""

from __future__ import annotations

import copy

import torch

from ..._internal.checks import to_unit_float
from ..._internal.datasets import equal_steps, fetch
from ...autoencoders import AdaptedAutoencoder, Autoencoder
from ...exceptions import DataError, InputError
from ...latents import ReferenceSet
from ...policies import ClassGaussian
from ..feed import Feed
from ..networks import DecoderGenerator

# At most so many images, spread over the data set, say where codes are.
_ENCODED = 10_000


def frozen(autoencoder: Autoencoder) -> Autoencoder:
    """A copy that stays as it is."""
    return copy.deepcopy(autoencoder).eval().requires_grad_(False)


def shape_of(autoencoder: Autoencoder, image_shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Shape (C,H,W) of the images to make: the one given, or else the only one that the autoencoder takes.

    Raises `InputError` for an adapted autoencoder: networks are built like it, which takes one of this package.
    """
    if isinstance(autoencoder, AdaptedAutoencoder):
        raise InputError(
            "training methods on top of an autoencoder build networks like its own, which an adapted one "
            f"({autoencoder.name}) does not tell; take one of this package, or use it with augment='both' or 'real'"
        )
    shape = autoencoder.image_shape if image_shape is None else image_shape
    channels, *size = shape
    if None in size:
        raise InputError(f"autoencoder {autoencoder.name!r} takes images of any size; give image_shape=(C, H, W)")
    return channels, *size  # type: ignore[return-value]


@torch.no_grad()
def real_latents(autoencoder: Autoencoder, feed: Feed) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Raw latents (N, *L) of real images on the run's device, and class numbers (N,) for a method with classes."""
    rows = equal_steps(len(feed.dataset), _ENCODED)
    found = [fetch(feed.dataset, rows[at : at + 256]) for at in range(0, len(rows), 256)]
    raw = torch.cat([autoencoder.encode(to_unit_float(images.to(feed.device))).mean.float() for images, _ in found])
    if not feed.labelled:
        return raw, None
    return raw, torch.cat([labels for _, labels in found if labels is not None]).to(feed.device)


def standard_codes(autoencoder: Autoencoder, images: torch.Tensor) -> torch.Tensor:
    """Float images (B,C,H,W) => standard latents (B, *L), float32; gradients flow."""
    return autoencoder.stats.standardise(autoencoder.encode(images).mean.float())


def real_reference(autoencoder: Autoencoder, feed: Feed) -> ReferenceSet:
    """`real_latents` as standard latents; an autoencoder without latent statistics gets them first."""
    raw, labels = real_latents(autoencoder, feed)
    if not autoencoder.stats.fitted:
        autoencoder.stats.fit([raw])
    return ReferenceSet(autoencoder.stats.standardise(raw), labels)


@torch.no_grad()
def fit_codes(generator: DecoderGenerator, reference: ReferenceSet) -> None:
    """Fit the distribution that the generator's codes come from to a reference set of real codes.

    Raises `DataError` for a class of fewer than two images.
    """
    counts = reference.class_counts()
    few = [label for label in range(generator.num_classes) if counts.get(label, 0) < 2]
    if few:
        raise DataError(
            f"a distribution of codes is fitted to each class, and class {few[0]} has {counts.get(few[0], 0)} images; "
            "expected 2 or more: leave it out, or train without classes (--unconditional)"
        )
    gaussian = ClassGaussian()
    gaussian.fit(reference)
    assert gaussian.fitted is not None
    codes, labels = reference.z.flatten(1), reference.labels.to(reference.z.device)
    generator.set_codes(gaussian.fitted.means, gaussian.fitted.factors, codes, labels)
