"""Latents of the real images, for the training methods that use an autoencoder."""

from __future__ import annotations

import copy

import torch

from ..._internal.checks import to_unit_float
from ..._internal.datasets import dataset_labels, equal_steps, fetch
from ...autoencoders import AdaptedAutoencoder, Autoencoder
from ...exceptions import DataError, InputError
from ...latents import ReferenceSet
from ...policies import ClassGaussian
from ..feed import Feed
from ..networks import DecoderGenerator

# Largest number of images that are encoded, evenly spaced over each class.
_ENCODED = 10_000


def frozen(autoencoder: Autoencoder) -> Autoencoder:
    """Return a copy in eval mode with frozen weights."""
    return copy.deepcopy(autoencoder).eval().requires_grad_(False)


def shape_of(autoencoder: Autoencoder, image_shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Return the shape (C,H,W) of the images to generate: the given one, or the only one that the autoencoder takes.

    Raises `InputError` for an object that is not an `Autoencoder`, for an adapted one, because networks of its
    architecture cannot be built, and for an autoencoder without a fixed shape if none is given.
    """
    if not isinstance(autoencoder, Autoencoder):
        raise InputError(
            f"autoencoder must be an Autoencoder, such as load_autoencoder('digits'), got {autoencoder!r:.60}"
        )
    if isinstance(autoencoder, AdaptedAutoencoder):
        raise InputError(
            "this training method builds networks with the architecture of its autoencoder, which is unknown for an "
            f"adapted one ({autoencoder.name}); use an autoencoder of this package, or use this one with "
            "augmentation 'both' or 'real' (--augment both, --augment real)"
        )
    shape = autoencoder.image_shape if image_shape is None else image_shape
    channels, *size = shape
    if None in size:
        raise InputError(f"autoencoder {autoencoder.name!r} takes images of any size; give image_shape=(C, H, W)")
    return channels, *size  # type: ignore[return-value]


@torch.no_grad()
def real_latents(autoencoder: Autoencoder, feed: Feed) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return raw latents (N, *L) of real images on the device of the run, and class numbers (N,) or None."""
    rows = _encoded_rows(feed)
    found = [fetch(feed.dataset, rows[at : at + 256]) for at in range(0, len(rows), 256)]
    raw = torch.cat([autoencoder.encode(to_unit_float(images.to(feed.device))).mean.float() for images, _ in found])
    if not feed.labelled:
        return raw, None
    return raw, torch.cat([labels for _, labels in found if labels is not None]).to(feed.device)


def _encoded_rows(feed: Feed) -> list[int]:
    """Return the rows of the images that are encoded: all, or a part of each class, at least two images."""
    if len(feed.dataset) <= _ENCODED or not feed.labelled:
        return equal_steps(len(feed.dataset), _ENCODED)
    labels = dataset_labels(feed.dataset)
    by_class = labels.argsort(stable=True)  # even steps over an unsorted set can miss a class of periodic labels
    counts = labels.bincount()
    first, second = counts.cumsum(0) - counts, counts.cumsum(0) - counts + 1
    places = torch.cat([torch.tensor(equal_steps(len(labels), _ENCODED)), first[counts > 0], second[counts > 1]])
    return by_class[places.unique()].tolist()


def standard_codes(autoencoder: Autoencoder, images: torch.Tensor) -> torch.Tensor:
    """Return the standardised latents (B, *L), float32, of float images (B,C,H,W); differentiable."""
    return autoencoder.stats.standardise(autoencoder.encode(images).mean.float())


def real_reference(autoencoder: Autoencoder, feed: Feed) -> ReferenceSet:
    """Return `real_latents` as standardised latents; latent statistics are fitted first if there are none."""
    raw, labels = real_latents(autoencoder, feed)
    if not autoencoder.stats.fitted:
        autoencoder.stats.fit([raw])
    return ReferenceSet(autoencoder.stats.standardise(raw), labels)


@torch.no_grad()
def fit_codes(generator: DecoderGenerator, reference: ReferenceSet) -> None:
    """Fit the distribution of the generator's codes to the standardised latents of real images.

    Raises `DataError` for a class, or an unconditional data set, of fewer than two images.
    """
    if len(reference) < 2:
        raise DataError("fitting a distribution to the latents of real images needs at least 2 images, got 1")
    counts = reference.class_counts()
    few = [label for label in range(generator.num_classes) if counts.get(label, 0) < 2]
    if few:
        raise DataError(
            f"class {few[0]} has {counts.get(few[0], 0)} images, and fitting a distribution to the latents of a class "
            "needs at least 2; leave the class out, or use num_classes=0 (--unconditional)"
        )
    gaussian = ClassGaussian()
    gaussian.fit(reference)
    assert gaussian.fitted is not None
    codes, labels = reference.z.flatten(1), reference.labels.to(reference.z.device)
    generator.set_codes(gaussian.fitted.means, gaussian.fitted.factors, codes, labels)
