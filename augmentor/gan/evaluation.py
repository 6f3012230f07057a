"""Looking at a generator between rounds: how far it is from the real images, how much its samples differ, a picture."""

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

# Features of at most so many real and generated images are compared, and at least so many.
_EVALUATED, _FEWEST_EVALUATED = 5000, 10
# The spread is measured on at most so many.
_SPREAD = 200
_COLUMNS = 10


class Evaluator:
    """Real images to compare with, and the same noise at every call.

    features: an extractor as `augmentor.quality` takes it, or None. num_classes: those that the generator knows.
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
        # Within classes, unless there are so many that hardly two images would be of the same.
        self._within = labels is not None and labels.ndim == 1 and 0 < 4 * num_classes <= min(_SPREAD, len(images))
        self._spread = spread(to_unit_float(images[:_SPREAD]), self._classes(labels))

    def row(self, generator: Generator) -> dict[str, float]:
        """`spread`, as a share of that of the real images; with features `fid`, `kid`, `precision` and `recall`."""
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
        """A picture (3,H,W) with a class a column."""
        columns = generator.num_classes or _COLUMNS
        images = sample(generator, columns * max(2, 60 // columns), self._seed, self._device)
        return grid(images.split(columns))


def check_evaluated(
    dataset: Any, features: Callable[[torch.Tensor], torch.Tensor] | None, device: torch.device
) -> None:
    """Raise what measuring against this data set would raise."""
    if features is None:
        return
    if len(dataset) < _FEWEST_EVALUATED:
        raise DataError(
            f"measuring takes at least {_FEWEST_EVALUATED} real images, got {len(dataset)}; give more, or no features"
        )
    extract(features, fetch(dataset, [0])[0], 1, device)


@torch.no_grad()
def sample(generator: Generator, count: int, seed: int, device: torch.device, purpose: str = "samples") -> torch.Tensor:
    """`count` float images (count,C,H,W) on the CPU, classes in turn; the same ones at every call."""
    noise = torch.randn(count, generator.latent_dim, generator=torch_generator(device, seed, purpose), device=device)
    classes = generator.num_classes
    labels = torch.arange(count, device=device) % classes if classes else None
    chunks = range(0, count, 256)
    return torch.cat(
        [generator(noise[i : i + 256], None if labels is None else labels[i : i + 256]).cpu() for i in chunks]
    )


def spread(images: torch.Tensor, labels: torch.Tensor | None = None) -> float:
    """Mean variance of a pixel among float images (B,C,H,W), within classes where labels (B,) are given.

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
