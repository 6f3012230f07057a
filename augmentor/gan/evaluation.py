"""Evaluation of a generator between rounds: distance to the real images, variance of the samples, and a sample grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .._internal.checks import to_unit_float
from .._internal.datasets import fetch
from .._internal.pictures import grid
from .._internal.random import fold, torch_generator
from ..exceptions import DataError
from ..quality import compare, extract
from .networks import Generator

# Largest and smallest number of real, and of generated, images whose features are compared.
_EVALUATED, _FEWEST_EVALUATED = 5000, 10
# Largest number of images on which the spread is measured.
_SPREAD = 200
_COLUMNS = 10


class Evaluator:
    """Comparison of a generator with real images; every call uses the same noise.

    features: a feature extractor as in `augmentor.quality`, or None. num_classes: number of classes of the generator.
    """

    def __init__(
        self,
        dataset: Any,
        features: Callable[[torch.Tensor], torch.Tensor] | None,
        seed: int,
        device: torch.device,
        num_classes: int,
    ):
        order = np.random.Generator(np.random.Philox(fold(seed, "judged"))).permutation(len(dataset))
        images, labels = fetch(dataset, order[: _EVALUATED if features is not None else _SPREAD].tolist())
        self._features, self._seed, self._device, self._count = features, seed, device, len(images)
        self._real = None if features is None else extract(features, images, 256, device)
        # Within classes only if there are on average at least 4 images per class.
        self._within = labels is not None and labels.ndim == 1 and 0 < 4 * num_classes <= min(_SPREAD, len(images))
        self._spread = spread(to_unit_float(images[:_SPREAD]), self._classes(labels))

    def row(self, generator: Generator) -> dict[str, float]:
        """Return `spread` relative to that of real images; with features also `fid`, `kid`, `precision`, `recall`."""
        images = sample(generator, self._count, self._seed, self._device, "judged")
        row = {}
        if self._spread > 0:
            labels = torch.arange(len(images)) % generator.num_classes if generator.num_classes else None
            row["spread"] = spread(images[:_SPREAD], self._classes(labels)) / self._spread
        if self._features is not None and self._real is not None:
            row |= compare(extract(self._features, images, 256, self._device), self._real, seed=self._seed)
        return row

    def _classes(self, labels: torch.Tensor | None) -> torch.Tensor | None:
        return labels[:_SPREAD] if self._within and labels is not None else None

    def grid(self, generator: Generator) -> torch.Tensor:
        """Return a picture (3,H,W) of samples, with one column per class."""
        columns = generator.num_classes or _COLUMNS
        images = sample(generator, columns * max(2, 60 // columns), self._seed, self._device)
        return grid(images.split(columns))


def check_evaluated(
    dataset: Any, features: Callable[[torch.Tensor], torch.Tensor] | None, device: torch.device
) -> None:
    """Raise the errors that evaluation on this data set would raise, before training starts."""
    if features is None:
        return
    if len(dataset) < _FEWEST_EVALUATED:
        raise DataError(
            f"evaluation needs at least {_FEWEST_EVALUATED} real images, got {len(dataset)}; add images, or leave "
            "features out"
        )
    extract(features, fetch(dataset, [0])[0], 1, device)


@torch.no_grad()
def sample(generator: Generator, count: int, seed: int, device: torch.device, purpose: str = "samples") -> torch.Tensor:
    """Return `count` float images (count,C,H,W) on the CPU, of all classes in turn; every call returns the same."""
    noise = torch.randn(count, generator.latent_dim, generator=torch_generator(device, seed, purpose), device=device)
    classes = generator.num_classes
    labels = torch.arange(count, device=device) % classes if classes else None
    chunks = range(0, count, 256)
    return torch.cat(
        [generator(noise[i : i + 256], None if labels is None else labels[i : i + 256]).cpu() for i in chunks]
    )


def spread(images: torch.Tensor, labels: torch.Tensor | None = None) -> float:
    """Return the variance of float images (B,C,H,W), averaged over pixels; within classes if labels (B,) are given.

    >>> spread(torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(4, 1, 1, 1), torch.tensor([0, 1, 0, 1]))
    0.0
    """
    rows = images.flatten(1).double()
    _, classes = (
        torch.zeros(len(rows)).unique(return_inverse=True)
        if labels is None
        else labels.cpu().unique(return_inverse=True)
    )
    count = classes.bincount()
    means = torch.zeros(len(count), rows.shape[1], dtype=rows.dtype).index_add_(0, classes, rows) / count[:, None]
    freedom = len(rows) - len(count)
    return float((rows - means[classes]).square().mean(1).sum()) / freedom if freedom else 0.0
